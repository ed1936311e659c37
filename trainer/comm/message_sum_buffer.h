#pragma once
// Floats that ranks which share no memory sum by messages, each a slice of them, in rank order.

#include <cstddef>
#include <memory>

#include "trainer/comm/communicator.h"
#include "trainer/comm/mpi_engine.h"

namespace muster {

/// Of two ranks or more. Each rank gets all ranks' terms of its slice, adds them, and gives the sums to all:
/// a reduce-scatter and an all-gather, which send 2 (N - 1) / N times the values from each of N ranks,
/// whatever N is. (Open MPI 4.1 makes in-place MPI_Iallreduce by a tree, which sends all of them log2 N
/// times, and twice one after the other.) Takes as much memory again as the values.
std::unique_ptr<SumBuffer> make_message_sum_buffer(std::shared_ptr<MpiEngine> engine, std::size_t count,
                                                   SumPrecision precision);

}  // namespace muster
