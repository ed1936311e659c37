#include "trainer/runlog/kernel_profile.h"

#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <vector>

#include "core/error.h"

namespace muster {
namespace {

using torch::profiler::impl::ActivityType;

std::set<ActivityType> activities(KernelProfile::Of of) {
  std::set<ActivityType> wanted;
  if (of != KernelProfile::Of::kKernels) wanted.insert(ActivityType::CPU);
  if (of != KernelProfile::Of::kOperators) wanted.insert(ActivityType::CUDA);
  return wanted;
}

torch::profiler::impl::ProfilerConfig settings() {
  return torch::profiler::impl::ProfilerConfig(torch::profiler::impl::ProfilerState::KINETO);
}

struct Total {
  std::uint64_t count = 0;
  double ns = 0;
};

using Event = torch::autograd::profiler::KinetoEvent;

/// Of operators within operators each counts for itself: the time of those that it calls is taken off.
std::map<std::string, Total> operator_totals(const std::vector<Event>& events) {
  std::map<std::uint64_t, std::vector<const Event*>> threads;
  for (const Event& event : events) {
    if (event.deviceType() == c10::DeviceType::CPU) threads[event.startThreadId()].push_back(&event);
  }
  std::map<std::string, Total> totals;
  for (auto& [thread, list] : threads) {
    std::ranges::stable_sort(list, [](const Event* a, const Event* b) {
      return a->startNs() != b->startNs() ? a->startNs() < b->startNs() : a->endNs() > b->endNs();
    });
    std::vector<const Event*> open;
    for (const Event* const event : list) {
      while (!open.empty() && open.back()->endNs() <= event->startNs()) open.pop_back();
      const auto took = static_cast<double>(event->durationNs());
      if (!open.empty()) totals[open.back()->name()].ns -= took;
      Total& total = totals[event->name()];
      ++total.count;
      total.ns += took;
      open.push_back(event);
    }
  }
  return totals;
}

std::map<std::string, Total> kernel_totals(const std::vector<Event>& events) {
  std::map<std::string, Total> totals;
  for (const Event& event : events) {
    if (event.deviceType() != c10::DeviceType::CUDA) continue;
    Total& total = totals[event.name()];
    ++total.count;
    total.ns += static_cast<double>(event.durationNs());
  }
  return totals;
}

}  // namespace

KernelProfile::KernelProfile(Of of) : of_(of) {
  torch::autograd::profiler::prepareProfiler(settings(), activities(of));
  torch::autograd::profiler::enableProfiler(settings(), activities(of), {at::RecordScope::FUNCTION});
}

KernelProfile::~KernelProfile() {
  if (!running_) return;
  try {
    torch::autograd::profiler::disableProfiler();
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the work that threw says more
  }
}

Json KernelProfile::finish(const std::string& file) {
  running_ = false;
  const auto result = torch::autograd::profiler::disableProfiler();
  if (!file.empty()) {
    std::error_code none;
    std::filesystem::remove(file, none);  // what is there afterwards was written now
    result->save(file);
    if (!std::filesystem::exists(file, none)) throw Error(ErrorCode::kData, "cannot be written", file);
  }
  const auto totals =
      of_ == Of::kOperators ? operator_totals(result->events()) : kernel_totals(result->events());
  std::vector<std::pair<std::string, Total>> sorted(totals.begin(), totals.end());
  std::ranges::stable_sort(sorted, [](const auto& a, const auto& b) { return a.second.ns > b.second.ns; });
  Json rows = Json::array();
  for (const auto& [name, total] : sorted)
    rows.push_back({{"name", name}, {"count", total.count}, {"ms", total.ns / 1e6}});
  return rows;
}

std::vector<KernelSpan> KernelProfile::finish_kernels() {
  running_ = false;
  const auto result = torch::autograd::profiler::disableProfiler();
  const auto when = [](std::int64_t ns) {
    return std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::nanoseconds(ns)));
  };
  std::vector<KernelSpan> spans;
  for (const Event& event : result->events()) {
    if (event.deviceType() != c10::DeviceType::CUDA) continue;
    spans.push_back({event.name(), static_cast<std::uint64_t>(event.deviceResourceId()),
                     when(static_cast<std::int64_t>(event.startNs())),
                     when(static_cast<std::int64_t>(event.endNs()))});
  }
  std::ranges::stable_sort(spans, {}, &KernelSpan::from);
  return spans;
}

}  // namespace muster
