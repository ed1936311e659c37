#include "trainer/comm/stragglers.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

/// What is told in so many steps.
std::vector<Straggler> told(const std::vector<StepSeconds>& ranks, int steps) {
  Stragglers stragglers;
  std::vector<Straggler> all;
  for (int step = 0; step < steps; ++step) {
    if (const auto one = stragglers.note(ranks)) all.push_back(*one);
  }
  return all;
}

TEST(Stragglers, TheSlowestRankIsNamedWithItsPhase) {
  const auto computes = told({{0.001F, 0.05F}, {0.001F, 0.05F}, {0.001F, 0.2F}, {0.002F, 0.06F}}, 20);
  ASSERT_EQ(computes.size(), 1U);
  EXPECT_EQ(computes[0].rank, 2);
  EXPECT_STREQ(computes[0].phase, "compute");
  EXPECT_NEAR(computes[0].seconds, 0.2, 1e-6);
  EXPECT_NEAR(computes[0].usual, 0.05, 1e-6);
  const auto reads = told({{0.3F, 0.05F}, {0.001F, 0.05F}}, 20);
  ASSERT_EQ(reads.size(), 1U);
  EXPECT_EQ(reads[0].rank, 0);
  EXPECT_STREQ(reads[0].phase, "data");
}

TEST(Stragglers, LittleDifferencesAreNone) {
  EXPECT_TRUE(told({{0, 0.05F}, {0, 0.07F}}, 200).empty()) << "less than half as long again";
  EXPECT_TRUE(told({{0, 0.001F}, {0, 0.009F}}, 200).empty()) << "not worth a line";
  EXPECT_TRUE(told({{0, 0.5F}}, 200).empty()) << "alone";
  EXPECT_TRUE(told({{0, 0.05F}, {0, 0.5F}}, 19).empty()) << "a step or two say nothing";
}

TEST(Stragglers, TheSameOneIsNotToldAllTheTime) { EXPECT_EQ(told({{0, 0.05F}, {0, 0.5F}}, 400).size(), 2U); }

}  // namespace
}  // namespace muster
