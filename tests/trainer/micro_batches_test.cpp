#include "trainer/loop/micro_batches.h"

#include <gtest/gtest.h>

#include <numeric>

#include "core/error.h"
#include "tests/data_loader/order_cases.h"

namespace muster {
namespace {

using Ranges = std::vector<RowRange>;

TEST(MicroBatchesTest, CutsAnywhereWhereNothingBelongsTogether) {
  const std::vector<std::uint32_t> lanes{4, 4, 2};
  EXPECT_EQ(micro_batches(lanes, 0, RowsTogether::kNone), (Ranges{{0, 10}}));
  EXPECT_EQ(micro_batches(lanes, 3, RowsTogether::kNone), (Ranges{{0, 3}, {3, 3}, {6, 3}, {9, 1}}));
  EXPECT_EQ(micro_batches({}, 3, RowsTogether::kNone), Ranges{});
}

TEST(MicroBatchesTest, KeepsLanesWhole) {
  const std::vector<std::uint32_t> lanes{4, 4, 4, 2};
  EXPECT_EQ(micro_batches(lanes, 9, RowsTogether::kLane), (Ranges{{0, 8}, {8, 6}}));
  EXPECT_EQ(micro_batches(lanes, 4, RowsTogether::kLane), (Ranges{{0, 4}, {4, 4}, {8, 4}, {12, 2}}));
  EXPECT_EQ(micro_batches(lanes, 0, RowsTogether::kLane), (Ranges{{0, 14}}));
  EXPECT_EQ(micro_batches({}, 4, RowsTogether::kLane), Ranges{});
}

TEST(MicroBatchesTest, TheWholeStepIsOnePassAlsoWithoutRows) {
  const std::vector<std::uint32_t> lanes{4, 4};
  EXPECT_EQ(micro_batches(lanes, 3, RowsTogether::kAll), (Ranges{{0, 8}}));
  EXPECT_EQ(micro_batches({}, 3, RowsTogether::kAll), (Ranges{{0, 0}}));
}

TEST(MicroBatchesTest, EveryRowIsInOneRange) {
  RandomStream random(random_key(5, Purpose::kGenerate, {0}));
  testing::Edges edges;
  for (int i = 0; i < testing::case_count(); ++i) {
    std::vector<std::uint32_t> lanes;
    for (std::uint64_t lane = random.below(6); lane > 0; --lane)
      lanes.push_back(static_cast<std::uint32_t>(1 + random.below(5)));
    const std::size_t rows = std::accumulate(lanes.begin(), lanes.end(), std::size_t{0});
    const std::size_t most = random.below(12);
    const auto together = static_cast<RowsTogether>(random.below(3));
    std::size_t next = 0;
    for (const RowRange& range : micro_batches(lanes, most, together)) {
      EXPECT_EQ(range.first, next);
      next += range.count;
      EXPECT_TRUE(range.count > 0 || together == RowsTogether::kAll);
      if (together == RowsTogether::kNone && most > 0) {
        EXPECT_LE(range.count, most);
      }
    }
    EXPECT_EQ(next, rows);
    edges.hit("no rows", rows == 0);
    edges.hit("a lane that is longer than a micro-batch",
              most > 0 && together == RowsTogether::kLane && !lanes.empty() && lanes.front() > most);
    edges.hit("several ranges", micro_batches(lanes, most, together).size() > 1);
  }
  edges.expect_all_hit();
}

TEST(MicroBatchesTest, WhatWouldPartRowsIsRefused) {
  EXPECT_NO_THROW(check_micro_batch(0, RowsTogether::kAll, 8, 32));
  EXPECT_NO_THROW(check_micro_batch(1, RowsTogether::kNone, 8, 32));
  EXPECT_NO_THROW(check_micro_batch(8, RowsTogether::kLane, 8, 32));
  EXPECT_THROW(check_micro_batch(7, RowsTogether::kLane, 8, 32), Error);
  EXPECT_NO_THROW(check_micro_batch(32, RowsTogether::kAll, 8, 32));
  EXPECT_THROW(check_micro_batch(31, RowsTogether::kAll, 8, 32), Error);
}

}  // namespace
}  // namespace muster
