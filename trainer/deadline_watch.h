#pragma once
// A thread that calls for help when a collective takes too long, even if every other thread hangs inside a
// library.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

namespace muster {

/// A collective that takes too long.
struct Overdue {
  std::uint64_t sequence = 0;
  std::string line;  ///< "rank R on HOST: collective 'NAME' (#N) has waited 120 s for "
};

/// Watches collectives from begin to end. Thread-safe.
class DeadlineWatch {
 public:
  /// From the watch's thread: `on_tick` every now and then (at most every second), `on_overdue` at most once.
  DeadlineWatch(int rank, std::chrono::milliseconds deadline, std::function<void()> on_tick,
                std::function<void(const Overdue&)> on_overdue);
  ~DeadlineWatch();
  DeadlineWatch(const DeadlineWatch&) = delete;
  DeadlineWatch& operator=(const DeadlineWatch&) = delete;

  void begin(std::uint64_t sequence, std::string name);
  void end(std::uint64_t sequence);

 private:
  struct Watched {
    std::string name;
    std::chrono::steady_clock::time_point start;
  };

  void watch();
  std::string line(std::uint64_t sequence, const Watched& watched) const;

  const int rank_;
  const std::chrono::milliseconds deadline_;
  const std::function<void()> on_tick_;
  const std::function<void(const Overdue&)> on_overdue_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::map<std::uint64_t, Watched> watched_;  ///< by sequence number, so the oldest is first
  std::thread thread_;
};

}  // namespace muster
