#pragma once
// The leak guard before a run's first step.

#include <string>
#include <vector>

#include "core/log.h"
#include "data_loader/dataset.h"
#include "data_loader/leak_guard.h"
#include "trainer/communicator.h"

namespace muster {

struct LeakReport {
  std::vector<FeatureScore> scores;  ///< best first
  std::vector<LeakFinding> findings;
  std::uint64_t rows = 0;  ///< of the training split that were looked at
};

/// Collective; the same on every rank and for any number of them. Looks at rows of `split` and of
/// `other` ("" for none), as many as leak_blocks says: do `features` (as data.features) tell the label? Are
/// rows or keys on both sides? Needs a label.
LeakReport check_leaks(Communicator& comm, const Dataset& dataset, const std::string& split,
                       const std::string& other, const std::vector<std::string>& features);

/// Prints what was found, and throws Error{kData} on all ranks (agreed) where there is something and
/// `policy` is "refuse".
void apply_leak_policy(Communicator& comm, const LeakReport& report, const std::string& policy,
                       const LogSink& log);

}  // namespace muster
