#include "trainer/checkpoint/checkpoint_interval.h"

#include <algorithm>
#include <cmath>

namespace muster {

double best_checkpoint_interval(double cost, double mean_time_between_failures) {
  if (cost >= 2 * mean_time_between_failures) return mean_time_between_failures;
  return std::sqrt(2 * cost * mean_time_between_failures) - cost;
}

void CheckpointCost::step(double seconds, bool writing) {
  Steps& steps = writing ? beside_ : plain_;
  ++steps.count;
  steps.seconds += seconds;
}

void CheckpointCost::stall(double seconds) {
  ++stalls_.count;
  stalls_.seconds += seconds;
}

double CheckpointCost::seconds(double first_guess) const {
  if (stalls_.count == 0 || plain_.count == 0) return first_guess;
  const double longer =
      beside_.count == 0 ? 0
                         : std::max(0.0, beside_.mean() - plain_.mean()) * static_cast<double>(beside_.count);
  return stalls_.mean() + longer / static_cast<double>(stalls_.count);
}

}  // namespace muster
