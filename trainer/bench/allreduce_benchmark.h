#pragma once
// `muster bench allreduce`: sums over the ranks as gradients are summed, beside the communication library's
// own.

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "trainer/comm/communicator.h"
#include "trainer/comm/gpu_module.h"

namespace muster {

struct AllreduceBenchmarkOptions {
  std::vector<std::uint64_t> bytes = {4 << 10, 64 << 10, 1 << 20, 25 << 20};
  std::uint64_t rounds = 50;              ///< measured of each size
  std::string sum_precision = "float32";  ///< as train.sum_precision
  std::string device = "cpu";             ///< as train.device
};

/// Collective, over all ranks that were launched together. In turns: a buffer of floats summed as gradients
/// are, summed by the bare library (MPI_Allreduce, or ncclAllReduce of float32 without name, number or watch;
/// left out where there is neither), and as many copied on each rank (what memory gives). {ranks, device,
/// sums (how they add), path (what they go by), library (or null), sizes: [{bytes, sum_us, library_us or
/// null, copy_us, ratio_to_library or null}]}: medians of the slowest rank; on GPUs until the host has seen
/// the end. Error{kConfig} for GPUs where there are none, or of one rank alone.
Json benchmark_allreduce(Communicator& comm, const AllreduceBenchmarkOptions& options, const GpuModule& gpus);

}  // namespace muster
