#pragma once
// `muster bench step`: the cost of a data-parallel step on made-up rows, beside the same step without
// communication, and beside LibTorch alone.

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "trainer/comm/communicator.h"
#include "trainer/comm/gpu_module.h"
#include "trainer/gradients/bucket_plan.h"

namespace muster {

struct StepBenchmarkOptions {
  std::string model = "mlp";
  std::string options;  ///< of the config's `model` section, as YAML: "{hidden: [2048, 2048]}"
  std::vector<std::int64_t> shape = {784};  ///< of a row: numbers, or a window of ids
  std::int64_t vocabulary = 0;              ///< above 0: ids below it, in place of numbers
  std::int64_t outputs = 10;                ///< classes
  std::string precision = "float32";
  std::string device = "cpu";  ///< as train.device
  std::uint64_t rows_per_rank = 64;
  std::uint64_t steps = 50;
  std::uint64_t threads = 1;
  std::uint64_t bucket_bytes = BucketLimits().bytes;  ///< of gradients that are summed together
  std::string sum_precision = "float32";              ///< as train.sum_precision
  std::string profile;  ///< a file: three more steps are profiled there, on rank 0
};

/// Collective. Trains the model with SGD for so many steps after a tenth as many for warming up, and in turns
/// with it the same model without communication, and by a plain LibTorch loop (each time all ranks computing
/// at once). {model, ranks, parameters, rows_per_rank, threads, buckets (bytes of each, in the order of their
/// sums), step_ms (median over the steps, of the slowest rank), alone_ms (of one rank: nothing is copied into
/// buckets or summed), bare_ms (by a plain loop), graph_ms (by the plain loop's forward and
/// backward pass and update as one CUDA graph, on rows that are there; null on CPUs and where it cannot be
/// recorded: why is in graph_error), ratio_to_alone, alone_to_bare, flops_per_second (of all
/// ranks), utilization (of the GPUs' peak, or null), profile (KernelProfile::finish of the slowest 20, in
/// milliseconds a step, or null)}. Error{kConfig} for a model that cannot be made of these
/// options, the same on all ranks. On a GPU a step ends when its update is done.
Json benchmark_step(Communicator& comm, const StepBenchmarkOptions& options, const GpuModule& gpus);

}  // namespace muster
