#pragma once
// Collectives over MPI: nonblocking calls, progressed by MPI_Test with short sleeps on a helper thread
// (facts: a blocking call spins and hides nothing), watched by a deadline.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "trainer/comm/communicator.h"
#include "trainer/comm/rank_status.h"

namespace muster {

struct MpiOptions {
  /// Of one collective, from start to end; 0: default_deadline().
  std::chrono::milliseconds deadline{120000};
  std::string deadline_key = {};       // NOLINT: GCC warns without; the config's key for it, for the line
  const RankStatus* status = nullptr;  ///< what this rank tells of itself; not owned, may be null
  /// Called once on each rank, from any thread, when a collective hangs or a rank is lost: the line names
  /// collective, number, step, seconds and who is missing; `mine`: this rank is the one to print it. Then the
  /// watch calls MPI_Abort(69), and _exits(69) if that is not done within seconds.
  std::function<void(const std::string& line, bool mine)> on_failure = {};  // NOLINT
  /// A rank that cannot reach rank 0 beside MPI watches alone; may be empty.
  std::function<void(const std::string&)> on_warning = {};  // NOLINT
  bool share_memory =
      true;  ///< where all ranks are on one host, buffers are summed in memory that they share
  std::size_t max_count = std::size_t{1}
                          << 30;  ///< items of one MPI call, whose counts are ints; more are cut up
};

/// Wraps MPI_COMM_WORLD, or the MPI_Comm that `mpi_comm` points at; duplicates it. MPI must be initialised
/// with at least MPI_THREAD_SERIALIZED by the caller, who also finalises it after the communicator is
/// destroyed.
std::unique_ptr<Communicator> make_mpi_communicator(const MpiOptions& options = {},
                                                    const void* mpi_comm = nullptr);

}  // namespace muster
