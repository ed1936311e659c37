// Steps whose loss is no number, or far too large: left out, gone back for, or the end, the same on all
// ranks.
#include "trainer/loop/bad_steps.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace muster {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(BadSteps, WhatIsNotFiniteIsBadAndASpikeWhereItIsAskedFor) {
  BadSteps plain({BadStepPolicy::kSkip, 10, 0});
  BadSteps watchful({BadStepPolicy::kSkip, 10, 5});
  EXPECT_TRUE(plain.judge(kNan));
  EXPECT_TRUE(plain.judge(std::numeric_limits<double>::infinity()));
  for (int step = 0; step < 49; ++step) watchful.good(1);
  EXPECT_FALSE(watchful.judge(100)) << "too early to tell";
  watchful.good(1);
  EXPECT_FALSE(watchful.judge(5));
  EXPECT_EQ(watchful.judge(5.1), "the loss is 5.1, more than 5 times its mean of 1");
  EXPECT_FALSE(plain.judge(1e300));
}

TEST(BadSteps, TheMeanFollowsTheLoss) {
  BadSteps steps({BadStepPolicy::kSkip, 10, 3});
  for (int step = 0; step < 1000; ++step) steps.good(10 * std::exp(-step / 100.0));
  EXPECT_TRUE(steps.judge(1)) << "far above what it is by now";
  EXPECT_FALSE(steps.judge(0.001));
}

TEST(BadSteps, OneTooManyIsTold) {
  BadSteps steps({BadStepPolicy::kSkip, 2, 0});
  EXPECT_TRUE(steps.skip());
  EXPECT_TRUE(steps.skip());
  EXPECT_FALSE(steps.skip());
  EXPECT_EQ(steps.count(), 3U);
}

TEST(BadSteps, ARestoredOneJudgesAsTheFirst) {
  BadSteps first({BadStepPolicy::kRollBack, 10, 2});
  for (int step = 0; step < 80; ++step) first.good(step % 7);
  EXPECT_TRUE(first.roll_back(80));
  BadSteps second({BadStepPolicy::kRollBack, 10, 2});
  second.restore(Json::parse(first.state().dump()));
  EXPECT_TRUE(second.left_out(80));
  EXPECT_FALSE(second.left_out(81));
  EXPECT_EQ(second.state(), first.state());
  EXPECT_EQ(second.judge(6.5), first.judge(6.5));
  BadSteps back({BadStepPolicy::kRollBack, 10, 2});
  back.learn_again(first.state());
  EXPECT_TRUE(back.left_out(80));
  EXPECT_FALSE(back.judge(1e9)) << "its mean is the checkpoint's: none";
}

}  // namespace
}  // namespace muster
