#include "trainer/runlog/trace.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/host_name.h"
#include "trainer/comm/gather.h"

namespace muster {
namespace {

std::string this_thread() {
  std::ostringstream text;
  text << "thread " << std::this_thread::get_id();
  return text.str();
}

}  // namespace

Trace::Trace(Communicator& comm, TraceRange range, std::function<EndProfile()> profile)
    : range_(range), profile_(std::move(profile)) {
  comm.barrier("trace");
  zero_ = Clock::now();
}

void Trace::at_step(std::uint64_t step) {
  const bool on = step >= range_.first && step < range_.last;
  if (on && profile_ && !end_profile_) end_profile_ = profile_();
  on_.store(on);
}

void Trace::span(std::string_view name, std::string_view track, Clock::time_point from,
                 Clock::time_point until) {
  if (on()) keep(name, track, from, until);
}

void Trace::keep(std::string_view name, std::string_view track, Clock::time_point from,
                 Clock::time_point until) {
  const auto us = [](Clock::duration time) {
    return std::chrono::duration<double, std::micro>(time).count();
  };
  Span made{std::string(name), track.empty() ? this_thread() : std::string(track), us(from - zero_),
            us(until - from)};
  const std::lock_guard lock(mutex_);
  spans_.push_back(std::move(made));
}

/// From the system's clock, which the GPU's is told by, to the spans'.
void Trace::add_kernels() {
  const auto steady = Clock::now();
  const auto system = std::chrono::system_clock::now();
  for (const KernelSpan& kernel : std::exchange(end_profile_, {})())
    keep(kernel.name, fmt::format("GPU stream {}", kernel.stream), steady + (kernel.from - system),
         steady + (kernel.until - system));
}

std::string Trace::gather_file(Communicator& comm) {
  if (end_profile_) add_kernels();
  on_ = false;
  Json mine = Json::array();
  std::map<std::string, int> tracks;
  {
    const std::lock_guard lock(mutex_);
    for (const Span& span : spans_) {
      const int track = tracks.emplace(span.track, static_cast<int>(tracks.size())).first->second;
      mine.push_back({{"ph", "X"},
                      {"name", span.name},
                      {"pid", comm.rank()},
                      {"tid", track},
                      {"ts", span.from_us},
                      {"dur", span.took_us}});
    }
    spans_.clear();
  }
  const auto name = [&](const char* what, int track, const std::string& text) {
    mine.push_back(
        {{"ph", "M"}, {"name", what}, {"pid", comm.rank()}, {"tid", track}, {"args", {{"name", text}}}});
  };
  name("process_name", 0, fmt::format("rank {} on {}", comm.rank(), host_name()));
  for (const auto& [track, number] : tracks) name("thread_name", number, track);
  Json all = Json::array();
  for (const std::string& text : gather_texts(comm, "trace", mine.dump())) {
    if (comm.rank() != 0) continue;
    for (Json& event : parse_json(text, "trace", ErrorCode::kBug)) all.push_back(std::move(event));
  }
  return comm.rank() == 0 ? Json{{"traceEvents", std::move(all)}, {"displayTimeUnit", "ms"}}.dump()
                          : std::string();
}

}  // namespace muster
