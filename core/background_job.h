#pragma once
// One job at a time on a thread of its own, looked after by the thread that started it.

#include <chrono>
#include <functional>
#include <future>
#include <system_error>
#include <utility>

#include "core/error.h"

namespace muster {

/// Used by one thread. Destroying it waits for the job.
template <typename T>
class BackgroundJob {
 public:
  /// Precondition: none is running. Where no thread can be made the job runs at once, on this one.
  void start(std::function<T()> job) {
    ensure(!running(), "a background job is started beside another");
    try {
      future_ = std::async(std::launch::async, job);
    } catch (const std::system_error&) {
      future_ = std::async(std::launch::deferred, job);
      future_.wait();
    }
  }

  /// Started, and its result not yet taken.
  bool running() const { return future_.valid(); }
  /// Whether there is a result to take after at most this long.
  bool done_within(std::chrono::milliseconds patience) const {
    return running() && future_.wait_for(patience) != std::future_status::timeout;
  }
  /// Waits for the result and takes it; the job's Error stands in its place, other exceptions are thrown.
  Result<T> take() {
    return attempt([this] { return future_.get(); });
  }

 private:
  std::future<T> future_;
};

}  // namespace muster
