#pragma once
// The learning rate as a pure function of (settings, step).

#include <cstdint>
#include <string>
#include <vector>

namespace muster {

struct ScheduleSettings {
  std::string kind = "constant";  ///< "constant", "cosine", "linear", "step", "one_cycle"
  std::uint64_t warmup_steps = 0;
  double initial_ratio = 0.04;   ///< one_cycle starts at this share of the peak
  double final_ratio = 0;        ///< cosine, linear and one_cycle end at this share of the peak
  std::uint64_t step_every = 0;  ///< step: multiply by step_ratio each so many steps after the warm-up
  double step_ratio = 0.1;
  std::uint64_t horizon = 0;  ///< total steps; stored with the run
};

/// Learning rate of global step `step` (0-based): linear warm-up from peak / warmup_steps to peak, then the
/// kind. One cycle (Smith and Topin 2019) rises and falls along half waves; its rise takes warmup_steps, or
/// three tenths of the horizon where that is 0.
double learning_rate(const ScheduleSettings& settings, double peak, std::uint64_t step);

}  // namespace muster
