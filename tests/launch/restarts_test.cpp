#include "launch/restarts.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

TEST(Restarts, TheRanksCodesAreOursOrStandForThem) {
  for (const int code : {0, 64, 65, 69, 70, 74, 75, 78, 99}) EXPECT_EQ(exit_code_of_ranks(code), code);
  EXPECT_EQ(exit_code_of_ranks(137), 69);
  EXPECT_EQ(exit_code_of_ranks(143), 69);
  EXPECT_EQ(exit_code_of_ranks(139), 70);
  EXPECT_EQ(exit_code_of_ranks(134), 70);
  EXPECT_EQ(exit_code_of_ranks(1), 69);
  EXPECT_EQ(exit_code_of_ranks(205), 69);
}

TEST(Restarts, OnlyWhatMayPassIsStartedAgain) {
  for (const int code : {0, 64, 65, 75, 78, 99}) {
    const auto decision = RestartRule(5).after({code, 10, ""});
    EXPECT_FALSE(decision.again) << code;
    EXPECT_EQ(decision.reason, "") << code;
  }
  for (const int code : {69, 70, 74}) EXPECT_TRUE(RestartRule(5).after({code, 10, ""}).again) << code;
  EXPECT_FALSE(RestartRule(0).after({69, 10, ""}).again);
}

TEST(Restarts, FartherAndFartherApartUnlessItGetsOn) {
  RestartRule rule(100);
  std::vector<double> waits;
  for (int i = 0; i < 8; ++i) waits.push_back(rule.after({69, 10, std::to_string(i)}).wait_seconds);
  EXPECT_EQ(waits, (std::vector<double>{1, 2, 4, 8, 16, 32, 60, 60}));
  EXPECT_EQ(rule.after({69, 11, ""}).wait_seconds, 1);
  EXPECT_EQ(rule.after({69, 11, "other"}).wait_seconds, 2);
}

TEST(Restarts, TheSameStepInTheSameWayTwiceIsTheEnd) {
  RestartRule rule(100);
  EXPECT_TRUE(rule.after({70, 10, "a"}).again);
  EXPECT_TRUE(rule.after({70, 10, "b"}).again);
  EXPECT_TRUE(rule.after({69, 10, "b"}).again);
  EXPECT_TRUE(rule.after({69, 12, "b"}).again);
  const auto decision = rule.after({69, 12, "b"});
  EXPECT_FALSE(decision.again);
  EXPECT_EQ(decision.reason, "it failed twice in the same way after step 12: another start would, too");
}

TEST(Restarts, AreCounted) {
  RestartRule rule(2);
  EXPECT_TRUE(rule.after({69, 1, ""}).again);
  EXPECT_TRUE(rule.after({69, 2, ""}).again);
  const auto decision = rule.after({69, 3, ""});
  EXPECT_FALSE(decision.again);
  EXPECT_EQ(decision.reason, "no restarts are left");
}

}  // namespace
}  // namespace muster
