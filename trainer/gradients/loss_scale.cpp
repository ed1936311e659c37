#include "trainer/gradients/loss_scale.h"

#include <algorithm>

#include "core/error.h"

namespace muster {
namespace {

constexpr double kMost = 0x1p24;

}  // namespace

LossScale::LossScale(double first) : is_on_(first > 1), value_(first) {
  ensure(first >= 1, "a loss scale of {}", first);
}

void LossScale::good() {
  if (!is_on_ || ++good_steps_ < kGoodSteps) return;
  good_steps_ = 0;
  if (value_ < kMost) value_ = std::min(2 * value_, kMost);
}

bool LossScale::overflowed() {
  if (!is_on_ || value_ <= 1) return false;
  value_ = std::max(1.0, value_ / 2);
  good_steps_ = 0;
  return true;
}

Json LossScale::state() const { return {{"value", value_}, {"good_steps", good_steps_}}; }

void LossScale::restore(const Json& state) {
  if (!is_on_ || state.is_null()) return;
  value_ = state.at("value").get<double>();
  good_steps_ = state.at("good_steps").get<std::uint64_t>();
}

}  // namespace muster
