#pragma once
// `muster bench overhead`: what the safety of a training costs in each step.

#include <cstdint>
#include <filesystem>

#include "core/file_system.h"
#include "core/json.h"
#include "trainer/comm/communicator.h"

namespace muster {

struct OverheadBenchmarkOptions {
  std::uint64_t parameters = 1'000'000;      ///< of the model whose weights are compared
  std::uint64_t collectives = 5;             ///< watched in a step: gradient buckets and the verdict
  std::uint64_t compare_every_steps = 1000;  ///< as train.compare_every_steps
  std::uint64_t repeats = 2000;
  double step_ms = 10;                    ///< of the step that the total is a share of
  std::filesystem::path directory = ".";  ///< for events; what is written there is removed
};

/// Collective. Medians of the slowest rank, in microseconds a step:
/// {ranks, verdict_us (the exchange that all ranks act on), watch_us (telling the watch what collectives
/// begin and end), compare_us (hash of the weights, a share of it), stop_us (looking for reasons to stop),
/// events_us (progress and the line in events.jsonl), total_us, share (of `step_ms`)}.
Json benchmark_overhead(Communicator& comm, FileSystem& files, const OverheadBenchmarkOptions& options);

}  // namespace muster
