#pragma once
// How often to write a checkpoint, from what one costs and how often something fails.

#include <cstdint>

namespace muster {

/// Seconds between the starts of two checkpoints that lose the least time in the mean: sqrt(2 cost mtbf) -
/// cost, Young's first-order optimum (CACM 17(9), 1974) with the correction of Daly (FGCS 22, 2006) for a
/// cost that is not small; mtbf where cost is 2 mtbf or more. All in seconds, above 0.
double best_checkpoint_interval(double cost, double mean_time_between_failures);

/// What checkpoints cost the training on this rank. One thread.
class CheckpointCost {
 public:
  /// A step that took so long, `writing` beside a checkpoint or not.
  void step(double seconds, bool writing);
  /// A checkpoint for whose start the training stood still so long.
  void stall(double seconds);
  /// Mean cost of a checkpoint in seconds: the stall, and what the steps beside the writing took longer than
  /// others. `first_guess` until one was measured, with steps beside it and without.
  double seconds(double first_guess) const;

 private:
  struct Steps {
    std::uint64_t count = 0;
    double seconds = 0;
    double mean() const { return count == 0 ? 0 : seconds / static_cast<double>(count); }
  };
  Steps plain_;
  Steps beside_;
  Steps stalls_;
};

}  // namespace muster
