#pragma once
// `muster bench allreduce`: sums over the ranks as gradients are summed, beside the MPI library's own.

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "trainer/communicator.h"

namespace muster {

struct AllreduceBenchmarkOptions {
  std::vector<std::uint64_t> bytes = {4 << 10, 64 << 10, 1 << 20, 25 << 20};
  std::uint64_t rounds = 50;              ///< measured of each size
  std::string sum_precision = "float32";  ///< as train.sum_precision
};

/// Collective, over all ranks that were launched together. In turns: a buffer of floats summed as gradients
/// are, MPI_Allreduce of as many (left out where there is no MPI), and as many copied on each rank (what
/// memory gives). {ranks, sums (how they add), path (what they go by), sizes: [{bytes, sum_us, mpi_us or
/// null, copy_us, ratio_to_mpi or null}]}: medians of the slowest rank.
Json benchmark_allreduce(Communicator& comm, const AllreduceBenchmarkOptions& options);

}  // namespace muster
