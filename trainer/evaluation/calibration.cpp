#include "trainer/evaluation/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "trainer/comm/gather.h"

namespace muster {
namespace {

constexpr double kLeast = 1.0 / 64;  ///< of 1 / T
constexpr double kMost = 64;

void add_binary(LogitSums& sums, double logit, bool positive, double inverse) {
  const double right = positive ? logit : -logit;  // how much the score speaks for the label
  const double margin = inverse * right;
  const double small = std::exp(-std::abs(margin));
  const double wrong = (margin >= 0 ? small : 1) / (1 + small);  // probability of the other class
  sums.nll += std::max(-margin, 0.0) + std::log1p(small);
  sums.first -= right * wrong;
  sums.second += right * right * wrong * (1 - wrong);
}

void add_classes(LogitSums& sums, std::span<const float> logits, std::size_t label, double inverse) {
  const double greatest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  double mean = 0;  // of logit - greatest under the model
  double square = 0;
  for (const float logit : logits) {
    const double below = logit - greatest;
    const double share = std::exp(inverse * below);
    total += share;
    mean += share * below;
    square += share * below * below;
  }
  mean /= total;
  const double of_label = logits[label] - greatest;
  sums.nll += std::log(total) - inverse * of_label;
  sums.first += mean - of_label;
  sums.second += square / total - mean * mean;
}

/// A micro-batch's part of a sum over all.
struct Part {
  std::uint64_t number = 0;
  LogitSums sums;
};

/// Collective. Over all ranks' rows, added in micro-batch order.
LogitSums total_sums(Communicator& comm, std::span<const RawMicroBatch> mine, std::int64_t outputs,
                     double inverse) {
  std::vector<Part> parts;
  for (const RawMicroBatch& batch : mine)
    parts.push_back({batch.number, logit_sums(batch, outputs, inverse)});
  parts = gather<Part>(comm, "calibration", parts);
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.number < b.number; });
  LogitSums total;
  for (const Part& part : parts) {
    total.nll += part.sums.nll;
    total.first += part.sums.first;
    total.second += part.sums.second;
  }
  return total;
}

/// Collective. Whether all ranks' rows have two different labels.
bool has_two_classes(Communicator& comm, std::span<const RawMicroBatch> mine) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  double least = kNone;
  double most = -kNone;
  for (const RawMicroBatch& batch : mine) {
    for (const double label : batch.labels) {
      least = std::min(least, label);
      most = std::max(most, label);
    }
  }
  const double ends[] = {least, -most};
  const std::vector<double> all = gather<double>(comm, "calibration labels", ends);
  for (std::size_t i = 0; i < all.size(); i += 2) {
    least = std::min(least, all[i]);
    most = std::max(most, -all[i + 1]);
  }
  return least < most;
}

}  // namespace

LogitSums logit_sums(const RawMicroBatch& batch, std::int64_t outputs, double inverse) {
  LogitSums sums;
  const auto width = static_cast<std::size_t>(outputs);
  for (std::size_t row = 0; row < batch.labels.size(); ++row) {
    const auto logits = std::span(batch.scores).subspan(row * width, width);
    const double label = batch.labels[row];
    if (outputs == 1) {
      add_binary(sums, logits[0], label > 0.5, inverse);
      continue;
    }
    if (!(label >= 0 && label < static_cast<double>(outputs)))
      fail(ErrorCode::kData, "label {} is no class: there are {}, from 0", label, outputs);
    add_classes(sums, logits, static_cast<std::size_t>(label), inverse);
  }
  return sums;
}

TemperatureFit fit_temperature(Communicator& comm, std::span<const RawMicroBatch> mine,
                               std::int64_t outputs) {
  if (!has_two_classes(comm, mine)) return {1, "its rows have one class only"};
  if (total_sums(comm, mine, outputs, kLeast).first >= 0)
    return {1, "the scores say nothing about the labels"};
  if (total_sums(comm, mine, outputs, kMost).first <= 0)
    return {1, "the scores tell all rows' classes apart"};
  double low = kLeast;
  double high = kMost;
  double inverse = 1;
  constexpr int kMostSteps = 100;  // halving alone needs 60
  for (int step = 0; step < kMostSteps; ++step) {
    const LogitSums at = total_sums(comm, mine, outputs, inverse);
    (at.first > 0 ? high : low) = inverse;
    double next = inverse - at.first / at.second;
    if (!(next > low && next < high)) next = std::sqrt(low * high);
    const double change = std::abs(next - inverse);
    inverse = next;
    if (change <= 1e-12 * inverse) break;
  }
  return {1 / inverse, ""};
}

}  // namespace muster
