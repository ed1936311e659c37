#include "trainer/deadline_watch.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.h"
#include "trainer/run_directory.h"

namespace muster {

DeadlineWatch::DeadlineWatch(int rank, std::chrono::milliseconds deadline, std::function<void()> on_tick,
                             std::function<void(const Overdue&)> on_overdue)
    : rank_(rank),
      deadline_(deadline),
      on_tick_(std::move(on_tick)),
      on_overdue_(std::move(on_overdue)),
      thread_([this] { watch(); }) {}

DeadlineWatch::~DeadlineWatch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

void DeadlineWatch::begin(std::uint64_t sequence, std::string name) {
  const std::lock_guard lock(mutex_);
  watched_.emplace(sequence, Watched{std::move(name), std::chrono::steady_clock::now()});
}

void DeadlineWatch::end(std::uint64_t sequence) {
  const std::lock_guard lock(mutex_);
  watched_.erase(sequence);
}

/// Looks a few times per deadline instead of being woken by every collective.
void DeadlineWatch::watch() {
  const auto interval =
      std::clamp(deadline_ / 8, std::chrono::milliseconds(1), std::chrono::milliseconds(1000));
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, interval, [this] { return stopping_; })) {
    lock.unlock();
    on_tick_();
    lock.lock();
    const auto oldest = watched_.begin();
    if (oldest == watched_.end() || std::chrono::steady_clock::now() - oldest->second.start < deadline_)
      continue;
    const Overdue overdue{oldest->first, line(oldest->first, oldest->second)};
    lock.unlock();
    on_overdue_(overdue);
    return;
  }
}

std::string DeadlineWatch::line(std::uint64_t sequence, const Watched& watched) const {
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - watched.start;
  return fmt::format("rank {} on {}: collective '{}' (#{}) has waited {} for ", rank_, host_name(),
                     watched.name, sequence, human_seconds(waited.count()));
}

}  // namespace muster
