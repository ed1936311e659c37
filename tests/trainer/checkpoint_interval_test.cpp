#include "trainer/checkpoint/checkpoint_interval.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace muster {
namespace {

/// Share of the time that is lost with failures as a Poisson process: checkpoints, and what a failure throws
/// away (Daly 2006, equation 13, without the restart's own time).
double lost_share(double interval, double cost, double mtbf) {
  const double segment = interval + cost;
  const double spent = mtbf * std::expm1(segment / mtbf);
  return 1 - interval / spent;
}

TEST(CheckpointInterval, IsNearTheBestThereIs) {
  for (const double mtbf : {600.0, 3600.0, 86400.0}) {
    for (const double cost : {0.05, 1.0, 20.0, 200.0}) {
      const double chosen = best_checkpoint_interval(cost, mtbf);
      double best = 1;
      double interval = cost / 10;
      while (interval < 20 * mtbf) {
        best = std::min(best, lost_share(interval, cost, mtbf));
        interval += std::max(0.01, interval / 200);
      }
      EXPECT_LT(lost_share(chosen, cost, mtbf), best + 0.02) << cost << " s, " << mtbf << " s";
    }
  }
  EXPECT_EQ(best_checkpoint_interval(2000, 600), 600);
}

TEST(CheckpointCost, IsTheStallAndWhatTheStepsBesideItTookLonger) {
  CheckpointCost cost;
  EXPECT_EQ(cost.seconds(7), 7);
  for (int i = 0; i < 100; ++i) cost.step(0.1, false);
  EXPECT_EQ(cost.seconds(7), 7) << "no checkpoint yet";
  for (int checkpoint = 0; checkpoint < 2; ++checkpoint) {
    cost.stall(0.3);
    for (int i = 0; i < 10; ++i) cost.step(0.15, true);
  }
  EXPECT_NEAR(cost.seconds(7), 0.3 + 10 * 0.05, 1e-9);
}

}  // namespace
}  // namespace muster
