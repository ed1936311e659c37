#include "trainer/loop/bad_steps.h"

#include <algorithm>
#include <cmath>

#include "core/text.h"

namespace muster {
namespace {

constexpr std::uint64_t kMeanSteps = 100;
constexpr std::uint64_t kWarmUpSteps = 50;

}  // namespace

BadStepRule bad_step_rule(const Config& config) {
  const std::string policy = config.text_at("train", "on_bad_step");
  return {policy == "skip"       ? BadStepPolicy::kSkip
          : policy == "rollback" ? BadStepPolicy::kRollBack
                                 : BadStepPolicy::kStop,
          config.unsigned_at("train", "most_bad_steps"), config.number_at("train", "spike_factor")};
}

void BadSteps::restore(const Json& state) {
  if (state.is_null()) return;
  count_ = member<std::uint64_t>(state, "count", "checkpoint");
  left_out_ = member<std::set<std::uint64_t>>(state, "left_out", "checkpoint");
  mean_ = member<double>(state, "mean_loss", "checkpoint");
  good_steps_ = member<std::uint64_t>(state, "good_steps", "checkpoint");
}

void BadSteps::learn_again(const Json& state) {
  count_ = member<std::uint64_t>(state, "count", "checkpoint");
  left_out_ = member<std::set<std::uint64_t>>(state, "left_out", "checkpoint");
}

Json BadSteps::state() const {
  return {{"count", count_}, {"left_out", left_out_}, {"mean_loss", mean_}, {"good_steps", good_steps_}};
}

std::optional<std::string> BadSteps::judge(double loss) const {
  if (!std::isfinite(loss)) return "the loss is not finite";
  if (rule_.spike_factor <= 0 || good_steps_ < kWarmUpSteps || loss <= rule_.spike_factor * mean_)
    return std::nullopt;
  return fmt::format("the loss is {:.4g}, more than {} times its mean of {:.4g}", loss, rule_.spike_factor,
                     mean_);
}

void BadSteps::good(double loss) {
  const double share = 1.0 / static_cast<double>(std::min(kMeanSteps, ++good_steps_));
  mean_ += share * (loss - mean_);
}

bool BadSteps::skip() { return ++count_ <= rule_.most; }

bool BadSteps::roll_back(std::uint64_t step) {
  left_out_.insert(step);
  return ++count_ <= rule_.most;
}

}  // namespace muster
