#include "trainer/comm/stragglers.h"

#include <algorithm>
#include <utility>

namespace muster {
namespace {

constexpr double kTimesMedian = 1.5;
constexpr double kLeastLoss = 0.01;  // seconds a step
constexpr std::uint64_t kQuietWindows = 10;

/// The lower one where there are two.
double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::optional<Straggler> Stragglers::note(std::span<const StepSeconds> ranks) {
  data_.resize(ranks.size());
  compute_.resize(ranks.size());
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    data_[rank] += static_cast<double>(ranks[rank].data);
    compute_[rank] += static_cast<double>(ranks[rank].compute);
  }
  if (++steps_ % kWindow != 0) return std::nullopt;
  const std::vector<double> data = std::exchange(data_, {});
  const std::vector<double> compute = std::exchange(compute_, {});
  std::vector<double> all;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) all.push_back(data[rank] + compute[rank]);
  const auto slowest = static_cast<std::size_t>(std::ranges::max_element(all) - all.begin());
  const double usual = median(all);
  if (all[slowest] < kTimesMedian * usual || all[slowest] - usual < kLeastLoss * kWindow) return std::nullopt;
  const auto rank = static_cast<int>(slowest);
  if (told_ == rank && steps_ - told_at_ < kQuietWindows * kWindow) return std::nullopt;
  told_ = rank;
  told_at_ = steps_;
  const bool in_data = data[slowest] - median(data) > compute[slowest] - median(compute);
  const std::vector<double>& phase = in_data ? data : compute;
  return Straggler{rank, in_data ? "data" : "compute", phase[slowest] / kWindow, median(phase) / kWindow};
}

}  // namespace muster
