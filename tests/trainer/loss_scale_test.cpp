#include "trainer/gradients/loss_scale.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

TEST(LossScaleTest, OneIsNoneForEver) {
  LossScale none(1);
  for (std::uint64_t step = 0; step < 3 * LossScale::kGoodSteps; ++step) none.good();
  EXPECT_EQ(none.value(), 1);
  EXPECT_FALSE(none.overflowed());
}

TEST(LossScaleTest, HalvesAtOnceAndDoublesAfterGoodSteps) {
  LossScale scale(8);
  EXPECT_TRUE(scale.overflowed());
  EXPECT_EQ(scale.value(), 4);
  for (std::uint64_t step = 1; step < LossScale::kGoodSteps; ++step) scale.good();
  EXPECT_EQ(scale.value(), 4);
  LossScale resumed(8);
  resumed.restore(scale.state());
  resumed.good();
  EXPECT_EQ(resumed.value(), 8);
  for (std::uint64_t step = 1; step < LossScale::kGoodSteps; ++step) resumed.good();
  EXPECT_TRUE(resumed.overflowed());  // and counts anew
  for (std::uint64_t step = 1; step < LossScale::kGoodSteps; ++step) resumed.good();
  EXPECT_EQ(resumed.value(), 4);
}

TEST(LossScaleTest, AtOneTheGradientsAreBadByThemselves) {
  LossScale scale(3);
  EXPECT_TRUE(scale.overflowed());
  EXPECT_TRUE(scale.overflowed());
  EXPECT_EQ(scale.value(), 1);
  EXPECT_FALSE(scale.overflowed());
}

}  // namespace
}  // namespace muster
