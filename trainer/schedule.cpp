#include "trainer/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace muster {

namespace {

/// Share of the way from the end of the warm-up to the horizon, in [0, 1].
double progress(const ScheduleSettings& settings, std::uint64_t step) {
  ensure(settings.horizon > 0, "the {} schedule needs the total number of steps", settings.kind);
  if (step >= settings.horizon) return 1;
  return static_cast<double>(step - settings.warmup_steps) /
         static_cast<double>(settings.horizon - settings.warmup_steps);
}

}  // namespace

double learning_rate(const ScheduleSettings& settings, double peak, std::uint64_t step) {
  if (step < settings.warmup_steps) {
    return peak * (static_cast<double>(step + 1) / static_cast<double>(settings.warmup_steps));
  }
  if (settings.kind == "constant") return peak;
  const double last = settings.final_ratio;
  if (settings.kind == "cosine") {
    const double wave = (1 + std::cos(std::numbers::pi * progress(settings, step))) / 2;
    return peak * (last + (1 - last) * wave);
  }
  if (settings.kind == "linear") return peak * (1 + (last - 1) * progress(settings, step));
  if (settings.kind == "step") {
    if (settings.step_every == 0) {
      fail(ErrorCode::kConfig, "the step schedule needs the number of steps between two drops, at least 1");
    }
    const std::uint64_t drops = (step - settings.warmup_steps) / settings.step_every;
    return peak * std::pow(settings.step_ratio, static_cast<double>(drops));
  }
  fail(ErrorCode::kConfig, "there is no schedule '{}'; known: constant, cosine, linear, step", settings.kind);
}

}  // namespace muster
