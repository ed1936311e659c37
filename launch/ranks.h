#pragma once
// The ranks this process belongs to: MPI where a launcher started it, itself alone elsewhere.

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "trainer/comm/communicator.h"
#include "trainer/comm/mpi_communicator.h"

namespace muster {

/// Calls MPI_Init when started by mpirun or srun, and MPI_Finalize when destroyed. One per process.
class Ranks {
 public:
  /// See MpiOptions.
  explicit Ranks(const MpiOptions& options);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  Communicator& comm() { return *comm_; }
  bool uses_mpi() const { return mpi_; }
  /// Ranks on this host, as the launcher says; 0 if it does not.
  int on_this_host() const;
  /// First line of MPI_Get_library_version; "" without MPI.
  std::string mpi_version() const;
  /// Ends all ranks with this code. Does not return.
  [[noreturn]] void abort(int code);

 private:
  bool mpi_ = false;
  std::unique_ptr<Communicator> comm_;
};

/// Rank and number of ranks by the launcher's environment, before MPI_Init: 0 of 1 without a launcher.
int launched_rank();
bool launched_by_mpi();

}  // namespace muster
