#pragma once
// A thread on each rank that notices when collectives hang or a rank is gone, even if every other thread
// hangs inside a library. The ranks talk over TCP connections of their own, one to rank 0 each: where MPI
// hangs they do not.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/tcp.h"
#include "trainer/comm/rank_sign.h"
#include "trainer/comm/rank_status.h"

namespace muster {

struct RankWatchOptions {
  int rank = 0;
  int size = 1;
  /// Of one collective, from start to end. 0: default_deadline().
  std::chrono::milliseconds deadline{0};
  std::string deadline_key;            ///< of the config, for the line; may be ""
  const RankStatus* status = nullptr;  ///< not owned; may be null
  /// Called once from the watch's thread: the line that says what happened, and whether this rank is the one
  /// to print it. Then the job must end; if this returns, `end` is called.
  std::function<void(const std::string& line, bool mine)> on_failure;
  std::function<void()> end;
  std::chrono::milliseconds loss_grace{5000};  ///< a launcher ends a job that lost a rank by itself
};

/// Thread-safe.
class RankWatch {
 public:
  /// Rank 0 listens; the others get what its contact() says, by the caller, before start(). Error{kPeer}
  /// where there is no port.
  explicit RankWatch(RankWatchOptions options);
  ~RankWatch();
  RankWatch(const RankWatch&) = delete;
  RankWatch& operator=(const RankWatch&) = delete;

  std::string contact() const;
  /// Connects and starts the thread. A rank that reaches no address of rank 0 watches alone: false.
  bool start(const std::string& contact);

  void begin(std::uint64_t sequence, std::string name);
  void end(std::uint64_t sequence);

 private:
  using Clock = std::chrono::steady_clock;
  struct Watched {
    std::string name;
    Clock::time_point start;
  };
  /// A rank as its connection tells of it; the connection is null for rank 0 itself.
  struct Peer {
    std::unique_ptr<TcpConnection> connection;
    std::optional<RankSign> sign;
    Clock::time_point heard;
    std::optional<Clock::time_point> gone;
    bool left = false;  ///< said good-bye
  };

  void run();
  void forgive(Clock::duration gap);
  void tick();
  void serve();
  void take_fresh();
  void hear(Peer& peer);
  std::vector<SeenRank> seen() const;
  void ask_rank_zero();
  void try_next_address();
  bool obey();
  RankSign own_sign();
  double deadline_seconds() const;
  std::string limit() const;
  void fail(const std::string& line, bool mine);

  RankWatchOptions options_;
  std::string token_;
  std::unique_ptr<TcpListener> listener_;              ///< rank 0
  std::vector<std::unique_ptr<TcpConnection>> fresh_;  ///< connected, not yet introduced
  std::vector<Peer> peers_;                            ///< rank 0: by rank
  std::deque<std::string> untried_;                    ///< other ranks: addresses of rank 0
  Clock::time_point tried_at_;
  bool welcomed_ = false;                     ///< it is rank 0 that answers
  std::unique_ptr<TcpConnection> rank_zero_;  ///< other ranks
  std::optional<Clock::time_point> rank_zero_gone_;
  std::optional<Clock::time_point> overdue_since_;
  mutable std::mutex mutex_;  ///< of what follows
  std::condition_variable stop_;
  bool stopping_ = false;
  bool failed_ = false;
  std::uint64_t next_sequence_ = 0;
  std::map<std::uint64_t, Watched> watched_;  ///< by sequence number, so the oldest is first
  std::thread thread_;
};

}  // namespace muster
