#include "trainer/gradients/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <iostream>

#include "core/error.h"
#include "core/random.h"

namespace muster {
namespace {

ScheduleSettings settings_of(const std::string& kind, std::uint64_t warmup, std::uint64_t horizon,
                             double last = 0) {
  ScheduleSettings settings;
  settings.kind = kind;
  settings.warmup_steps = warmup;
  settings.horizon = horizon;
  settings.final_ratio = last;
  settings.step_every = 10;
  settings.step_ratio = 0.5;
  return settings;
}

TEST(ScheduleTest, WarmUpRisesInEqualStepsToThePeak) {
  for (const char* kind : {"constant", "cosine", "linear", "step"}) {
    const ScheduleSettings settings = settings_of(kind, 8, 100);
    for (std::uint64_t step = 0; step < 8; ++step) {
      EXPECT_DOUBLE_EQ(learning_rate(settings, 0.4, step), 0.05 * static_cast<double>(step + 1)) << kind;
    }
    EXPECT_DOUBLE_EQ(learning_rate(settings, 0.4, 8), 0.4) << kind;
  }
}

TEST(ScheduleTest, KnownValuesBetweenWarmUpAndHorizon) {
  EXPECT_DOUBLE_EQ(learning_rate(settings_of("constant", 10, 110), 0.4, 60), 0.4);
  EXPECT_DOUBLE_EQ(learning_rate(settings_of("cosine", 10, 110), 0.4, 60), 0.2);
  EXPECT_NEAR(learning_rate(settings_of("cosine", 10, 110), 0.4, 35), 0.2 * (1 + std::sqrt(0.5)), 1e-15);
  EXPECT_DOUBLE_EQ(learning_rate(settings_of("cosine", 10, 110, 0.5), 0.4, 60), 0.3);
  EXPECT_DOUBLE_EQ(learning_rate(settings_of("linear", 10, 110), 0.4, 35), 0.3);
  EXPECT_DOUBLE_EQ(learning_rate(settings_of("linear", 10, 110, 0.5), 0.4, 60), 0.3);
}

TEST(ScheduleTest, EndsAtTheFinalShareAndStaysThere) {
  for (const char* kind : {"cosine", "linear"}) {
    for (const double last : {0.0, 0.1, 1.0}) {
      const ScheduleSettings settings = settings_of(kind, 10, 110, last);
      for (const std::uint64_t step : {110ULL, 111ULL, 1000000ULL}) {
        EXPECT_NEAR(learning_rate(settings, 0.4, step), 0.4 * last, 1e-15) << kind;
      }
      EXPECT_NEAR(learning_rate(settings, 0.4, 109), 0.4 * last, 0.4 * 0.011) << kind;
    }
  }
}

TEST(ScheduleTest, StepDropsAtEachMultipleAfterTheWarmUp) {
  const ScheduleSettings settings = settings_of("step", 5, 100);
  for (const auto& [step, share] : {std::pair{5, 1.0}, {14, 1.0}, {15, 0.5}, {24, 0.5}, {25, 0.25}}) {
    EXPECT_DOUBLE_EQ(learning_rate(settings, 0.4, static_cast<std::uint64_t>(step)), 0.4 * share) << step;
  }
}

TEST(ScheduleTest, OneCycleRisesAndFallsAlongHalfWaves) {
  ScheduleSettings settings = settings_of("one_cycle", 0, 100, 0.01);
  settings.initial_ratio = 0.1;
  for (const std::uint64_t warmup : {0, 30}) {  // three tenths of the horizon, or just as many steps
    settings.warmup_steps = warmup;
    EXPECT_NEAR(learning_rate(settings, 0.4, 0), 0.04, 1e-15);
    EXPECT_NEAR(learning_rate(settings, 0.4, 15), 0.4 * 0.55, 1e-15);
    EXPECT_NEAR(learning_rate(settings, 0.4, 30), 0.4, 1e-15);
    EXPECT_NEAR(learning_rate(settings, 0.4, 65), 0.4 * 0.505, 1e-15);
    EXPECT_NEAR(learning_rate(settings, 0.4, 100), 0.004, 1e-15);
    EXPECT_NEAR(learning_rate(settings, 0.4, 1000), 0.004, 1e-15);
    for (std::uint64_t step = 1; step <= 100; ++step) {
      const double rise = learning_rate(settings, 0.4, step) - learning_rate(settings, 0.4, step - 1);
      EXPECT_EQ(rise > 0, step <= 30) << step;
    }
  }
  settings.warmup_steps = 200;  // longer than the run
  EXPECT_LT(learning_rate(settings, 0.4, 99), 0.4);
}

TEST(ScheduleTest, RandomSettingsRiseThenFallWithinBounds) {
  RandomStream stream(3);
  int longer_warmups = 0;
  int no_warmups = 0;
  for (int i = 0; i < 400; ++i) {
    const char* kinds[] = {"constant", "cosine", "linear", "step"};
    auto settings = settings_of(kinds[stream.below(4)], stream.below(6) * stream.below(10),
                                1 + stream.below(60), stream.uniform());
    settings.step_every = 1 + stream.below(20);
    longer_warmups += settings.warmup_steps >= settings.horizon ? 1 : 0;
    no_warmups += settings.warmup_steps == 0 ? 1 : 0;
    double before = 0;
    for (std::uint64_t step = 0; step < settings.horizon + 5; ++step) {
      const double now = learning_rate(settings, 0.3, step);
      ASSERT_TRUE(std::isfinite(now)) << settings.kind << " " << step;
      ASSERT_GE(now, 0);
      ASSERT_LE(now, 0.3 * (1 + 1e-12));
      if (step < settings.warmup_steps) {
        ASSERT_GT(now, before);
      } else if (step > settings.warmup_steps) {
        ASSERT_LE(now, before * (1 + 1e-12)) << settings.kind << " " << step;
      }
      before = now;
    }
  }
  std::cout << longer_warmups << " warm-ups as long as the run, " << no_warmups << " without\n";
  EXPECT_GT(longer_warmups, 0);
  EXPECT_GT(no_warmups, 0);
}

TEST(ScheduleTest, RefusesWhatItCannotCompute) {
  EXPECT_THROW(learning_rate(settings_of("cosin", 0, 10), 1, 0), Error);
  EXPECT_THROW(learning_rate(settings_of("cosine", 0, 0), 1, 0), Error);
  EXPECT_THROW(learning_rate(settings_of("one_cycle", 0, 0), 1, 0), Error);
  ScheduleSettings step = settings_of("step", 0, 10);
  step.step_every = 0;
  EXPECT_THROW(learning_rate(step, 1, 0), Error);
}

}  // namespace
}  // namespace muster
