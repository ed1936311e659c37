#include "trainer/gradients/schedule.h"

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

/// From 1 to 0 along half a cosine wave as `way` goes from 0 to 1.
double fall(double way) { return (1 + std::cos(std::numbers::pi * way)) / 2; }

double one_cycle(ScheduleSettings settings, std::uint64_t step) {
  if (settings.warmup_steps == 0) settings.warmup_steps = settings.horizon * 3 / 10;
  if (step < settings.warmup_steps) {
    const double way = static_cast<double>(step) / static_cast<double>(settings.warmup_steps);
    return 1 + (settings.initial_ratio - 1) * fall(way);
  }
  return settings.final_ratio + (1 - settings.final_ratio) * fall(progress(settings, step));
}

}  // namespace

double learning_rate(const ScheduleSettings& settings, double peak, std::uint64_t step) {
  if (settings.kind == "one_cycle") return peak * one_cycle(settings, step);
  if (step < settings.warmup_steps) {
    return peak * (static_cast<double>(step + 1) / static_cast<double>(settings.warmup_steps));
  }
  if (settings.kind == "constant") return peak;
  const double last = settings.final_ratio;
  if (settings.kind == "cosine") {
    return peak * (last + (1 - last) * fall(progress(settings, step)));
  }
  if (settings.kind == "linear") return peak * (1 + (last - 1) * progress(settings, step));
  if (settings.kind == "step") {
    if (settings.step_every == 0) {
      fail(ErrorCode::kConfig, "the step schedule needs the number of steps between two drops, at least 1");
    }
    const std::uint64_t drops = (step - settings.warmup_steps) / settings.step_every;
    return peak * std::pow(settings.step_ratio, static_cast<double>(drops));
  }
  fail(ErrorCode::kConfig, "there is no schedule '{}'; known: constant, cosine, linear, step, one_cycle",
       settings.kind);
}

}  // namespace muster
