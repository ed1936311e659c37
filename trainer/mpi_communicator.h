#pragma once
// Collectives over MPI: nonblocking calls, progressed by MPI_Test with short sleeps on a helper thread
// (facts: a blocking call spins and hides nothing), watched by a deadline.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "trainer/communicator.h"

namespace muster {

struct MpiOptions {
  std::chrono::milliseconds deadline{120000};  ///< of one collective, from start to end
  /// Called once, from any thread, with the one line that names collective, number, rank, host, seconds and
  /// the missing ranks; then the watchdog calls MPI_Abort(69), and _exits(69) if that is not done within
  /// seconds.
  std::function<void(const std::string&)> on_failure = {};  // NOLINT: GCC warns without
  std::size_t max_count = std::size_t{1}
                          << 30;  ///< items of one MPI call, whose counts are ints; more are cut up
};

/// Wraps MPI_COMM_WORLD, or the MPI_Comm that `mpi_comm` points at; duplicates it. MPI must be initialised
/// with at least MPI_THREAD_SERIALIZED by the caller, who also finalises it after the communicator is
/// destroyed.
std::unique_ptr<Communicator> make_mpi_communicator(const MpiOptions& options = {},
                                                    const void* mpi_comm = nullptr);

}  // namespace muster
