#pragma once
// All MPI calls of one communicator, one at a time; sums that move while the caller computes; the deadline.

#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "trainer/comm/mpi_communicator.h"
#include "trainer/comm/rank_watch.h"
#include "trainer/comm/shared_sum.h"

namespace muster {

/// A collective under way. Its requests are touched under the engine's mutex only.
struct MpiOperation {
  std::string name;
  std::uint64_t sequence = 0;
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
  std::vector<MPI_Request> requests;
  /// Moves it, where waiting for its requests is not all there is to do.
  std::function<SharedSum::Progress(MpiOperation&)> advance;
  std::atomic<bool> done = false;
};

/// Works on a duplicate of the communicator it is given. After a failed MPI call nobody calls MPI again:
/// every later use throws Error{kPeer} with the first failure's line.
class MpiEngine {
 public:
  MpiEngine(const MpiOptions& options, MPI_Comm parent);
  ~MpiEngine();
  MpiEngine(const MpiEngine&) = delete;
  MpiEngine& operator=(const MpiEngine&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  MPI_Comm comm() const { return comm_; }
  /// See Communicator::observe.
  void observe(Communicator::Observer observer);
  /// Seconds the caller was blocked in wait().
  double wait_seconds() const { return wait_seconds_; }

  /// Numbers and watches a collective, and calls `post(first, count, request)` for pieces of at most
  /// max_count items.
  template <typename Post>
  std::shared_ptr<MpiOperation> start(std::string_view name, std::size_t items, Post&& post) {
    const std::lock_guard lock(mutex_);
    auto operation = begin(name);
    add(*operation, items, post);
    return operation;
  }

  /// Adds pieces to a collective that nobody waits for yet, or from its own `advance`.
  template <typename Post>
  void extend(MpiOperation& operation, std::size_t items, Post&& post) {
    const std::lock_guard lock(mutex_);
    add(operation, items, post);
  }

  /// Numbers and watches a collective that `advance` moves. It is called by any thread, without the engine's
  /// mutex, and once more after the end at worst.
  std::shared_ptr<MpiOperation> start_moved(std::string_view name,
                                            std::function<SharedSum::Progress(MpiOperation&)> advance);
  /// Whether all its requests are done. For `advance`.
  bool test_requests(MpiOperation& operation);

  /// Lets the progress thread move it while the caller computes.
  void hand_over(const std::shared_ptr<MpiOperation>& operation);

  /// Returns when the collective is done on this rank.
  void wait(MpiOperation& operation);

 private:
  template <typename Post>
  void add(MpiOperation& operation, std::size_t items, Post& post) {
    for (std::size_t first = 0; first < items; first += max_count_) {
      const int count = static_cast<int>(std::min(max_count_, items - first));
      operation.requests.push_back(MPI_REQUEST_NULL);
      check(post(first, count, &operation.requests.back()), operation);
    }
  }

  std::shared_ptr<MpiOperation> begin(std::string_view name);
  SharedSum::Progress move(MpiOperation& operation);
  SharedSum::Progress advance(MpiOperation& operation);
  void keep_moving();
  void throw_if_failed(const MpiOperation& operation) const;
  void check(int code, const MpiOperation& operation);
  void check(int code, const std::string& what);
  void note_failure(std::string what);
  void ended(const MpiOperation& operation);
  void watch_over(const MpiOptions& options);
  [[noreturn]] void end_all_ranks();

  const std::size_t max_count_;
  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  std::uint64_t sequence_ = 0;
  double wait_seconds_ = 0;
  std::unique_ptr<RankWatch> watch_;
  std::mutex mutex_;  ///< around every MPI call, and what follows
  std::condition_variable wake_;
  std::vector<std::shared_ptr<MpiOperation>> outstanding_;  ///< moved by the progress thread
  bool stopping_ = false;
  std::shared_ptr<const Communicator::Observer> observer_;
  std::string failure_;  ///< written before failed_, once
  std::atomic<bool> failed_ = false;
  std::thread progress_;
};

}  // namespace muster
