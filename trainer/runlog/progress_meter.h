#pragma once
// How fast the training steps are and what they wait for: what the console line says.

#include <chrono>
#include <cstdint>

#include "trainer/runlog/progress.h"

namespace muster {

/// Seconds this rank has waited so far, counted up from the start of the run.
struct Waits {
  double data = 0;
  double communication = 0;
};

inline Waits operator-(const Waits& later, const Waits& earlier) {
  return {later.data - earlier.data, later.communication - earlier.communication};
}

/// One thread. Times the steps alone: evaluations and checkpoints between them count for the ETA only.
class ProgressMeter {
 public:
  using Clock = std::chrono::steady_clock;

  ProgressMeter(std::uint64_t total_steps, std::uint64_t steps_per_epoch, std::uint64_t epochs);

  void begin_step(const Waits& waits, Clock::time_point now = Clock::now());
  /// `rows` of the step over all ranks.
  void end_step(std::uint64_t rows, const Waits& waits, Clock::time_point now = Clock::now());

  /// The line for the steps since the last one; `step` are done in all. Starts the next line.
  Progress line(std::uint64_t step, double loss, Clock::time_point now = Clock::now());

 private:
  struct Sums {
    double seconds = 0;
    std::uint64_t rows = 0;
    Waits waits;
  };

  std::uint64_t total_steps_;
  std::uint64_t steps_per_epoch_;
  std::uint64_t epochs_;
  Sums since_line_;
  Clock::time_point step_began_;
  Waits waits_at_begin_;
  Clock::time_point
      first_ended_;  ///< the first step's end: that step pays for start-up, the ETA leaves it out
  std::uint64_t steps_measured_ = 0;  ///< since this start of the run
};

}  // namespace muster
