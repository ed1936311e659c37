#pragma once
// Plans carried out without data, for tests of who gets which row when.

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "data_loader/order/batch_plan.h"
#include "tests/data_loader/order_cases.h"

namespace muster::testing {

/// A row of a batch: block and row in it; kNowhere where nothing was put.
struct Sample {
  static constexpr std::uint32_t kNowhere = ~0U;
  std::uint32_t block = kNowhere;
  std::uint32_t row = kNowhere;
  std::uint32_t position = kNowhere;
  bool operator==(const Sample&) const = default;
};
inline std::ostream& operator<<(std::ostream& out, const Sample& s) {
  return out << s.block << '[' << s.row << "] at " << s.position;
}
using Samples = std::vector<Sample>;

struct Delivery {
  std::vector<Samples> batches;  ///< those that came before the end or a deadlock
  bool deadlock = false;
  std::uint64_t tasks = 0;
  std::uint64_t most_ahead = 0;  ///< most batches that were partly filled or waiting at a time
};

/// Carries a plan out in a ring of `ring` batches. A task is started in its turn, once its last batch has a
/// slot.
inline Delivery deliver(BatchPlan& plan, std::uint64_t ring) {
  Delivery delivery;
  std::vector<Samples> batches(plan.batches());
  std::vector<std::uint32_t> filled(plan.batches());
  for (std::uint64_t i = 0; i < plan.batches(); ++i) batches[i].resize(plan.rows(i));
  std::uint64_t consumed = 0;
  auto task = plan.next_task();
  while (true) {
    for (; task && task->last_batch < consumed + ring; task = plan.next_task()) {
      ++delivery.tasks;
      EXPECT_FALSE(task->places.empty());
      for (const RowPlace& place : task->places) {
        EXPECT_GE(place.batch, consumed) << "a row of a batch that was given away";
        EXPECT_LE(place.batch, task->last_batch);
        Sample& sample = batches.at(place.batch).at(place.row_in_batch);
        EXPECT_EQ(sample, Sample{}) << "two rows in one place";
        sample = {task->block, place.row_in_block, place.position};
        ++filled[place.batch];
        delivery.most_ahead = std::max(delivery.most_ahead, place.batch - consumed + 1);
      }
    }
    if (consumed == batches.size()) break;
    if (filled[consumed] < batches[consumed].size()) {
      delivery.deadlock = true;
      break;
    }
    delivery.batches.push_back(std::move(batches[consumed++]));
  }
  EXPECT_TRUE(delivery.deadlock || !task) << "tasks are left after the last batch";
  return delivery;
}

/// One split of all rows.
inline RowIndex equal_blocks(std::uint32_t blocks, std::uint32_t rows) {
  std::vector<Block> all;
  for (std::uint32_t i = 0; i < blocks; ++i) all.push_back({0, std::uint64_t{i} * rows, rows});
  RowIndex index({"train"}, all);
  for (std::uint32_t i = 0; i < blocks; ++i) index.append_block(std::vector<std::uint8_t>(rows, 0));
  return index;
}

}  // namespace muster::testing
