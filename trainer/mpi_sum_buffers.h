#pragma once
// Floats that ranks sum by themselves, each a slice of them, in rank order: in memory that they share, or by
// messages.

#include <memory>

#include "trainer/communicator.h"
#include "trainer/mpi_engine.h"
#include "trainer/shared_parts.h"

namespace muster {

/// A collective of the engine that somebody waits for.
class MpiPendingReduce : public PendingReduce {
 public:
  MpiPendingReduce(std::shared_ptr<MpiEngine> engine, std::shared_ptr<MpiOperation> operation)
      : engine_(std::move(engine)), operation_(std::move(operation)) {}
  ~MpiPendingReduce() override;
  void wait() override;

 private:
  std::shared_ptr<MpiEngine> engine_;
  std::shared_ptr<MpiOperation> operation_;  ///< null once waited for
};

std::unique_ptr<SumBuffer> make_shared_sum_buffer(std::shared_ptr<MpiEngine> engine, SharedParts shared);

/// Of two ranks or more. Each rank gets all ranks' terms of its slice, adds them, and gives the sums to all:
/// a reduce-scatter and an all-gather, which send 2 (N - 1) / N times the values from each of N ranks,
/// whatever N is. (Open MPI 4.1 makes in-place MPI_Iallreduce by a tree, which sends all of them log2 N
/// times, and twice one after the other.) Takes as much memory again as the values.
std::unique_ptr<SumBuffer> make_message_sum_buffer(std::shared_ptr<MpiEngine> engine, std::size_t count,
                                                   SumPrecision precision);

}  // namespace muster
