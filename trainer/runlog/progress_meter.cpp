#include "trainer/runlog/progress_meter.h"

#include <algorithm>

namespace muster {
namespace {

double seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

ProgressMeter::ProgressMeter(std::uint64_t total_steps, std::uint64_t steps_per_epoch, std::uint64_t epochs)
    : total_steps_(total_steps), steps_per_epoch_(steps_per_epoch), epochs_(epochs) {}

void ProgressMeter::begin_step(const Waits& waits, Clock::time_point now) {
  step_began_ = now;
  waits_at_begin_ = waits;
}

void ProgressMeter::end_step(std::uint64_t rows, const Waits& waits, Clock::time_point now) {
  since_line_.seconds += seconds(now - step_began_);
  since_line_.rows += rows;
  since_line_.waits.data += waits.data - waits_at_begin_.data;
  since_line_.waits.communication += waits.communication - waits_at_begin_.communication;
  if (steps_measured_++ == 0) first_ended_ = now;
}

Progress ProgressMeter::line(std::uint64_t step, double loss, Clock::time_point now) {
  const double elapsed = std::max(1e-9, since_line_.seconds);
  const double wall = seconds(now - first_ended_);
  Progress progress;
  progress.step = step;
  progress.total_steps = total_steps_;
  progress.epoch = (step - 1) / steps_per_epoch_;
  progress.epochs = epochs_;
  progress.loss = loss;
  progress.samples_per_second = static_cast<double>(since_line_.rows) / elapsed;
  progress.data_share = since_line_.waits.data / elapsed;
  progress.communication_share = since_line_.waits.communication / elapsed;
  const double per_step = steps_measured_ > 1 ? wall / static_cast<double>(steps_measured_ - 1) : elapsed;
  progress.eta_seconds = static_cast<double>(total_steps_ - step) * per_step;
  since_line_ = {};
  return progress;
}

}  // namespace muster
