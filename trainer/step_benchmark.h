#pragma once
// `muster bench step`: the cost of a data-parallel step on made-up rows, beside the same step without
// communication.

#include <cstdint>
#include <vector>

#include "core/json.h"
#include "trainer/communicator.h"

namespace muster {

struct StepBenchmarkOptions {
  std::int64_t inputs = 784;
  std::vector<std::int64_t> hidden = {2048, 2048};
  std::int64_t outputs = 10;
  std::uint64_t rows_per_rank = 64;
  std::uint64_t steps = 50;
  std::uint64_t threads = 1;
};

/// Collective. Trains the model `mlp` with SGD for so many steps after a tenth as many for warming up, and in
/// turns with it the same model without communication (all ranks computing at once).
/// {ranks, parameters, rows_per_rank, threads, step_ms (median over the steps, of the slowest rank), alone_ms
/// (the same without communication), ratio_to_alone}.
Json benchmark_step(Communicator& comm, const StepBenchmarkOptions& options);

}  // namespace muster
