#pragma once
// A checkpoint's exact metrics on any split, with its own pipeline.

#include <filesystem>
#include <optional>
#include <string>

#include "core/file_system.h"
#include "core/json.h"
#include "core/log.h"
#include "trainer/comm/communicator.h"
#include "trainer/comm/device_choice.h"

namespace muster {

struct CheckpointEvaluation {
  std::filesystem::path checkpoint;
  std::string split;
  std::string dataset;  ///< "": the one it was trained on
  std::string root;
  std::optional<std::uint64_t> bootstrap;  ///< resamples of the intervals; by default default_resamples()
  ScoringDevice device;
  LogSink log = silent_log();
};

/// Collective. {checkpoint, step, split, decision, metrics}. Loads on rank 0, verified; the same bits for any
/// number of ranks with the same train.threads, on CPUs. Failures are AgreedErrors.
Json evaluate_checkpoint(Communicator& comm, FileSystem& files, const CheckpointEvaluation& options);

}  // namespace muster
