#include "trainer/runlog/progress_meter.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

using std::chrono::milliseconds;

TEST(ProgressMeter, TimesStepsAloneAndPromisesNoLessThanWhatTheLastOnesTook) {
  ProgressMeter meter(100, 20, 5);
  ProgressMeter::Clock::time_point now{};
  Waits waits;
  const auto step = [&](milliseconds took) {
    meter.begin_step(waits, now);
    waits.data += 0.01;
    waits.communication += 0.02;
    now += took;
    meter.end_step(64, waits, now);
  };
  step(milliseconds(5000));  // start-up
  EXPECT_EQ(meter.line(1, 0.5, now).epoch, 0U);
  for (int i = 0; i < 10; ++i) step(milliseconds(100));
  const Progress steady = meter.line(11, 0.5, now);
  EXPECT_NEAR(steady.samples_per_second, 640, 1e-6);
  EXPECT_NEAR(steady.data_share, 0.1, 1e-9);
  EXPECT_NEAR(steady.communication_share, 0.2, 1e-9);
  EXPECT_NEAR(steady.eta_seconds, 89 * 0.1, 1e-6);

  // An evaluation of 10 s, which waits for others: in no rate or share, but in the ETA.
  now += milliseconds(10000);
  waits.communication += 7;
  for (int i = 0; i < 10; ++i) step(milliseconds(100));
  const Progress after = meter.line(21, 0.5, now);
  EXPECT_EQ(after.epoch, 1U);
  EXPECT_NEAR(after.samples_per_second, 640, 1e-6);
  EXPECT_NEAR(after.communication_share, 0.2, 1e-9);
  EXPECT_NEAR(after.eta_seconds, 79 * 12.0 / 20, 1e-6);
}

TEST(ProgressMeter, HasALineForTheFirstStepAndTheLast) {
  ProgressMeter meter(1, 1, 1);
  ProgressMeter::Clock::time_point now{};
  meter.begin_step({}, now);
  now += milliseconds(10);
  meter.end_step(8, {}, now);
  const Progress only = meter.line(1, 0.5, now);
  EXPECT_NEAR(only.samples_per_second, 800, 1e-6);
  EXPECT_EQ(only.eta_seconds, 0);
}

}  // namespace
}  // namespace muster
