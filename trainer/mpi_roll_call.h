#pragma once
// Finds out which ranks are missing from a collective. Each rank's watch answers, even while the rank
// computes.

#include <mpi.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace muster {

/// Small messages on a communicator of their own. Waits for no lock and for no peer beyond its patience; an
/// error of MPI counts as no answer. For one thread.
class MpiRollCall {
 public:
  /// `comm` stays the caller's. `mutex` guards all MPI calls, and what `next_sequence` reads: the number of
  /// this rank's next collective.
  MpiRollCall(MPI_Comm comm, std::mutex& mutex, std::function<std::uint64_t()> next_sequence);

  /// Answers the ranks that have asked.
  void answer();
  /// For collective `sequence`: "rank 0, which has not started it", "ranks 2, 3, which do not answer".
  /// Answers, too.
  std::string ask(std::uint64_t sequence, std::chrono::milliseconds patience);

 private:
  enum class State { kSilent, kMissing, kPresent };

  void answer_locked();
  void send(int rank, int tag, std::uint64_t value);
  void collect(std::uint64_t sequence, std::vector<State>& states);

  MPI_Comm comm_;
  std::mutex* mutex_;
  std::function<std::uint64_t()> next_sequence_;
  int rank_ = 0;
  int size_ = 1;
  std::deque<std::uint64_t> sent_;  ///< nobody waits for a message to arrive, so each keeps its place here
};

}  // namespace muster
