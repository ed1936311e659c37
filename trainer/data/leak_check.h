#pragma once
// The leak guard before a run's first step.

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/log.h"
#include "data_loader/dataset/dataset.h"
#include "data_loader/dataset/leak_guard.h"
#include "data_loader/features/feature_pipeline.h"
#include "trainer/comm/communicator.h"

namespace muster {

struct LeakReport {
  std::vector<FeatureScore> scores;  ///< for the first label, best first
  /// The same for each label by name, where there are several.
  std::vector<std::pair<std::string, std::vector<FeatureScore>>> by_label;
  std::vector<LeakFinding> findings;
  std::uint64_t rows = 0;          ///< of the training split that were looked at
  std::vector<std::string> notes;  ///< lines for people: what could not be looked at
};

/// Collective; the same on every rank and for any number of them. Looks at rows of `split` and of
/// `other` ("" for none), as many as leak_blocks says: does a feature tell a label, or did it become known
/// after its row's time? Are rows or keys on both sides? Needs a label. `before_block` is called before
/// each block; what it throws ends the check on all ranks. May be empty.
LeakReport check_leaks(Communicator& comm, const Dataset& dataset, const std::string& split,
                       const std::string& other, const FieldChoice& choice,
                       const std::function<void()>& before_block = {});

/// Prints what was found, and throws Error{kData} on all ranks (agreed) where there is something and
/// `policy` is "refuse".
void apply_leak_policy(Communicator& comm, const LeakReport& report, const std::string& policy,
                       const LogSink& log);

}  // namespace muster
