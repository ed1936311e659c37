#pragma once
// What a rank's threads do when, for some steps: the file that Perfetto (ui.perfetto.dev) and
// chrome://tracing show.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "trainer/comm/communicator.h"
#include "trainer/config/trace_range.h"
#include "trainer/runlog/kernel_profile.h"

namespace muster {

/// Any thread may add spans; the rest is for one.
class Trace {
 public:
  using Clock = std::chrono::steady_clock;

  /// Ends a profile that began; one that is let go of ends, too.
  using EndProfile = std::function<std::vector<KernelSpan>()>;
  /// Collective: the ranks' times count from here. `profile`: begins one of what a GPU does, on the thread of
  /// at_step() and gather_file(); may be empty.
  Trace(Communicator& comm, TraceRange range, std::function<EndProfile()> profile = {});

  /// The step that is next: spans are kept while it is in the range.
  void at_step(std::uint64_t step);
  bool on() const { return on_.load(std::memory_order_relaxed); }
  bool ends_at(std::uint64_t step) const { return step == range_.last; }

  /// One bar in `track` ("loop", "communication"): of this thread, where it is "". Nothing while it is off.
  void span(std::string_view name, std::string_view track, Clock::time_point from, Clock::time_point until);

  /// Collective. All ranks' spans, a process each, in the Trace Event Format, on rank 0; "" elsewhere.
  std::string gather_file(Communicator& comm);

 private:
  struct Span {
    std::string name;
    std::string track;
    double from_us;
    double took_us;
  };
  void keep(std::string_view name, std::string_view track, Clock::time_point from, Clock::time_point until);
  void add_kernels();

  TraceRange range_;
  std::function<EndProfile()> profile_;
  EndProfile end_profile_;
  Clock::time_point zero_;
  std::atomic<bool> on_ = false;
  std::mutex mutex_;
  std::vector<Span> spans_;
};

/// From its making to its end, one span; `trace` may be null.
class TraceSpan {
 public:
  TraceSpan(Trace* trace, std::string_view name, std::string_view track = "")
      : trace_(trace != nullptr && trace->on() ? trace : nullptr), name_(name), track_(track) {
    if (trace_ != nullptr) from_ = Trace::Clock::now();
  }
  ~TraceSpan() {
    if (trace_ != nullptr) trace_->span(name_, track_, from_, Trace::Clock::now());
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  Trace* trace_;
  std::string_view name_;
  std::string_view track_;
  Trace::Clock::time_point from_;
};

}  // namespace muster
