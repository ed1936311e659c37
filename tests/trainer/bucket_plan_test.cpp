#include "trainer/gradients/bucket_plan.h"

#include <gtest/gtest.h>

#include <iostream>
#include <numeric>

#include "core/random.h"

namespace muster {
namespace {

using Buckets = std::vector<std::vector<std::uint32_t>>;

TEST(BucketPlanTest, FillsInOrderWithASmallFirstBucket) {
  const std::vector<std::uint64_t> bytes{4, 4, 4, 4, 4, 4};
  const BucketPlan plan = plan_buckets(bytes, reverse_order(6), {4, 12});
  EXPECT_EQ(plan.buckets, (Buckets{{5}, {4, 3, 2}, {1, 0}}));
  EXPECT_FALSE(plan.observed);
  EXPECT_EQ(plan, plan_buckets(bytes, reverse_order(6), {4, 12}));
}

TEST(BucketPlanTest, AParameterLargerThanTheCapIsAlone) {
  const std::vector<std::uint64_t> bytes{4, 100, 4, 4};
  const std::vector<std::uint32_t> order{0, 1, 2, 3};
  EXPECT_EQ(plan_buckets(bytes, order, {10, 10}).buckets, (Buckets{{0}, {1}, {2, 3}}));
  EXPECT_EQ(plan_buckets(bytes, std::vector<std::uint32_t>{1, 0, 2, 3}, {10, 10}).buckets,
            (Buckets{{1}, {0, 2}, {3}}));
}

TEST(BucketPlanTest, RandomPlansKeepTheOrderAndTheCaps) {
  RandomStream stream(1);
  int alone = 0;
  int shared = 0;
  for (int i = 0; i < 200; ++i) {
    std::vector<std::uint64_t> bytes(1 + stream.below(30));
    for (std::uint64_t& size : bytes) size = 1 + stream.below(100);
    auto order = reverse_order(bytes.size());
    shuffle(std::span(order), stream());
    const BucketLimits limits{1 + stream.below(80), 1 + stream.below(200)};
    const BucketPlan plan = plan_buckets(bytes, order, limits);
    std::vector<std::uint32_t> flat;
    for (std::size_t b = 0; b < plan.buckets.size(); ++b) {
      const auto& bucket = plan.buckets[b];
      flat.insert(flat.end(), bucket.begin(), bucket.end());
      const auto add = [&](std::uint64_t sum, std::uint32_t p) { return sum + bytes[p]; };
      const std::uint64_t total = std::accumulate(bucket.begin(), bucket.end(), std::uint64_t{0}, add);
      const std::uint64_t cap = b == 0 ? limits.first_bytes : limits.bytes;
      EXPECT_TRUE(total <= cap || bucket.size() == 1);
      if (b + 1 < plan.buckets.size()) {
        EXPECT_GT(total + bytes[plan.buckets[b + 1].front()], cap);
      }
      alone += total > cap ? 1 : 0;
      shared += bucket.size() > 1 ? 1 : 0;
    }
    EXPECT_EQ(flat, order);
    EXPECT_EQ(BucketPlan::from_json(Json::parse(plan.to_json().dump()), bytes.size(), "here"), plan);
  }
  std::cout << alone << " buckets over the cap, " << shared << " with several parameters\n";
  EXPECT_GT(alone, 0);
  EXPECT_GT(shared, 0);
}

TEST(BucketPlanTest, RefusesOrdersThatAreNone) {
  const std::vector<std::uint64_t> bytes{4, 4};
  for (const std::vector<std::uint32_t>& order : {std::vector<std::uint32_t>{0}, {0, 0}, {0, 2}, {0, 1, 0}}) {
    EXPECT_THROW(plan_buckets(bytes, order), Error);
  }
}

TEST(BucketPlanTest, RefusesDamagedPlans) {
  const char* damaged[] = {R"({"buckets":[[0],[1]]})",
                           R"({"observed":true})",
                           R"([])",
                           R"({"buckets":[[0]],"observed":true})",
                           R"({"buckets":[[0,1],[]],"observed":true})",
                           R"({"buckets":[[0,1,1]],"observed":true})",
                           R"({"buckets":[[0,2]],"observed":true})",
                           R"({"buckets":[[0,-1]],"observed":true})",
                           R"({"buckets":"x","observed":true})"};
  for (const char* text : damaged) {
    try {
      BucketPlan::from_json(Json::parse(text), 2, "manifest.json");
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kStorage) << text;
      EXPECT_EQ(error.where(), "manifest.json") << text;
    }
  }
  const BucketPlan good =
      BucketPlan::from_json(Json::parse(R"({"buckets":[[1],[0]],"observed":true})"), 2, "");
  EXPECT_EQ(good.buckets, (Buckets{{1}, {0}}));
  EXPECT_TRUE(good.observed);
}

}  // namespace
}  // namespace muster
