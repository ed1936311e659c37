#include "data_loader/order/batch_plan.h"

#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <utility>

#include "core/error.h"
#include "tests/data_loader/plan_cases.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

/// The rows that lanes give to a step, as the order says.
Samples expected_batch(const RowIndex& index, const EpochOrder& order, std::uint64_t step, LaneRange lanes) {
  Samples samples;
  std::uint32_t position = order.first_position(step, lanes.first);
  for (const Slot& slot : order.batch(step, lanes)) {
    samples.push_back({slot.block, index.rows_of(0, slot.block)[slot.row], position++});
  }
  return samples;
}

struct Start {
  Cursor cursor;
  std::uint64_t epochs = 0;
};

Start random_start(RandomStream& random, std::uint64_t steps) {
  Start start;
  start.cursor.epoch = random.below(3);
  start.cursor.step = random.below(3) == 0 ? 0 : random.below(steps + 1);
  start.epochs = start.cursor.epoch + random.below(4);
  return start;
}

/// True where a window of the rank's has rows on both sides of the cursor.
bool cuts_window(const EpochOrder& order, LaneRange lanes, std::uint64_t position) {
  for (std::uint32_t lane = lanes.first; lane < lanes.last; ++lane) {
    for (const Window& window : order.windows(lane)) {
      if (window.first_position < position && position < window.first_position + window.rows) return true;
    }
  }
  return false;
}

TEST(TrainingPlan, DeliversTheOrderFromAnyCursorOnAnyNumberOfRanks) {
  RandomStream random(31337);
  Edges edges;
  std::uint64_t rows_compared = 0;
  for (int i = 0; i < testing::case_count() && !HasFailure(); ++i) {
    const OrderCase c = testing::random_case(random);
    SCOPED_TRACE("case " + std::to_string(i));
    const auto& settings = c.settings;
    const SampleOrder order(c.counts(), settings);
    const std::uint64_t steps = order.steps_per_epoch();
    const auto [cursor, epochs] = random_start(random, steps);
    const std::uint64_t first = cursor.epoch * steps + cursor.step;
    const std::uint64_t batches = epochs * steps > first ? epochs * steps - first : 0;

    for (std::uint32_t rank = 0; rank < c.world; ++rank) {
      SCOPED_TRACE("rank " + std::to_string(rank) + " of " + std::to_string(c.world));
      const LaneRange lanes = lanes_of_rank(rank, c.world, settings.lanes);
      const auto plan = make_training_plan(c.index, 0, settings, cursor, epochs, rank, c.world);
      ASSERT_EQ(plan->batches(), batches);
      ASSERT_GE(plan->min_ring(), 1U);
      const std::uint64_t ring = plan->min_ring() + (rank % 2 == 0 ? 0 : random.below(5));
      const Delivery delivery = deliver(*plan, ring);
      ASSERT_FALSE(delivery.deadlock)
          << "after batch " << delivery.batches.size() << " in a ring of " << ring;
      ASSERT_EQ(plan->next_task(), std::nullopt);
      EXPECT_LE(delivery.most_ahead, ring);

      std::uint32_t most = 0;
      std::uint64_t idle = 0;
      for (std::uint64_t batch = 0; batch < batches; ++batch) {
        const std::uint64_t global = first + batch;
        const EpochOrder epoch = order.epoch(global / steps);
        ASSERT_EQ(plan->step(batch), global);
        ASSERT_EQ(plan->rows(batch), epoch.rows_in_step(global % steps, lanes));
        ASSERT_EQ(delivery.batches[batch], expected_batch(c.index, epoch, global % steps, lanes))
            << "batch " << batch;
        most = std::max(most, plan->rows(batch));
        rows_compared += plan->rows(batch);
        idle += plan->rows(batch) == 0 ? 1 : 0;
      }
      EXPECT_EQ(plan->max_rows(), most);
      const std::uint64_t b = settings.batch_size / settings.lanes;
      edges.hit("a rank with no row in any batch", batches > 0 && most == 0);
      edges.hit("a batch without rows between batches with rows", idle > 0 && most > 0 && batches > steps);
      edges.hit("a cursor inside a window",
                batches > 0 && cursor.step < steps &&
                    cuts_window(order.epoch(cursor.epoch), lanes, cursor.step * b));
      edges.hit("a ring smaller than the plan", plan->min_ring() < batches);
      edges.hit("prefetch over the end of an epoch", ring > plan->min_ring() && batches > steps && steps > 0);
    }
    edges.hit("a cursor in mid-epoch", batches > 0 && cursor.step > 0 && cursor.step < steps);
    edges.hit("a cursor at the end of an epoch", batches > 0 && cursor.step == steps);
    edges.hit("nothing left to do", batches == 0 && steps > 0);
    edges.hit("an empty split", order.rows() == 0);
    edges.hit("three epochs", steps > 0 && batches > 2 * steps);
    edges.hit("one batch", batches == 1);
    edges.hit("a packed last step", order.rows() % settings.batch_size != 0 && batches > steps);
    edges.hit("rows in the block that are not the split's", c.index.rows(1) > 0 && batches > 0);
    edges.hit("16 ranks", c.world == 16);
    edges.hit("fewer rows than ranks", order.rows() > 0 && order.rows() < c.world);
  }
  std::cout << "  rows compared: " << rows_compared << '\n';
  edges.expect_all_hit();
}

TEST(TrainingPlan, EverySampleOncePerEpochOverAllRanks) {
  RandomStream random(99);
  for (int i = 0; i < testing::case_count() / 3; ++i) {
    const OrderCase c = testing::random_case(random);
    std::multiset<std::pair<std::uint32_t, std::uint32_t>> seen;
    for (std::uint32_t rank = 0; rank < c.world; ++rank) {
      const auto plan = make_training_plan(c.index, 0, c.settings, {1, 0}, 2, rank, c.world);
      while (const auto task = plan->next_task()) {
        for (const RowPlace& place : task->places) seen.emplace(task->block, place.row_in_block);
      }
    }
    std::multiset<std::pair<std::uint32_t, std::uint32_t>> every;
    for (std::uint32_t block = 0; block < c.index.blocks().size(); ++block) {
      for (const std::uint32_t row : c.index.rows_of(0, block)) every.emplace(block, row);
    }
    ASSERT_EQ(seen, every) << "case " << i;
  }
}

TEST(TrainingPlan, OneBatchLessThanMinRingDeadlocks) {
  // Windows of 2 x 7 rows, 3 rows of the lane in a step: some windows lie in 6 steps, some in 5.
  const RowIndex index = equal_blocks(40, 7);
  const OrderSettings settings{.seed = 4, .batch_size = 6, .lanes = 2, .window = 2};
  const auto plan = [&] { return make_training_plan(index, 0, settings, {0, 0}, 2, 0, 1); };
  EXPECT_EQ(plan()->min_ring(), 6U);
  EXPECT_FALSE(deliver(*plan(), 6).deadlock);
  EXPECT_TRUE(deliver(*plan(), 5).deadlock);
}

TEST(TrainingPlan, MinRingIsNoMoreThanThePlanOrAnEpochNeeds) {
  const RowIndex index = equal_blocks(40, 7);  // 280 rows
  const OrderSettings wide{.seed = 4, .batch_size = 8, .lanes = 2, .window = 1000};
  EXPECT_EQ(make_training_plan(index, 0, wide, {0, 0}, 9, 0, 1)->min_ring(), 35U);
  EXPECT_EQ(make_training_plan(index, 0, wide, {0, 30}, 1, 0, 1)->min_ring(), 5U);
  EXPECT_EQ(make_training_plan(index, 0, wide, {1, 0}, 1, 0, 1)->min_ring(), 1U);
}

TEST(TrainingPlan, OneTaskPerPieceWindowByWindowInTheOrderOfTheirFirstBatch) {
  const RowIndex index = equal_blocks(30, 10);
  const OrderSettings settings{.seed = 8, .batch_size = 16, .lanes = 4, .window = 3};
  const std::uint64_t steps = 19;
  const SampleOrder order(index.rows_per_block(0), settings);
  ASSERT_EQ(order.steps_per_epoch(), steps);
  std::vector<std::pair<std::uint32_t, std::uint64_t>> expected;  // (block, last batch)
  for (std::uint64_t epoch = 0; epoch < 2; ++epoch) {
    const EpochOrder one = order.epoch(epoch);
    for (std::uint64_t step = 0; step < steps; ++step) {
      for (const std::uint32_t lane : {2U, 3U}) {  // rank 1 of 2
        for (const Window& window : one.windows(lane)) {
          if (window.first_position / 4 != step) continue;
          const std::uint64_t last = epoch * steps + (window.first_position + window.rows - 1) / 4;
          for (std::uint32_t i = window.first_piece; i < window.last_piece; ++i) {
            expected.emplace_back(one.pieces(lane)[i].block, last);
          }
        }
      }
    }
  }
  std::vector<std::pair<std::uint32_t, std::uint64_t>> tasks;
  const auto plan = make_training_plan(index, 0, settings, {0, 0}, 2, 1, 2);
  while (const auto task = plan->next_task()) tasks.emplace_back(task->block, task->last_batch);
  EXPECT_EQ(tasks, expected);
}

TEST(TrainingPlan, RefusesMoreRanksThanLanesAndBrokenCursors) {
  const RowIndex index = equal_blocks(4, 10);
  const OrderSettings settings{.seed = 8, .batch_size = 16, .lanes = 4, .window = 3};
  const auto code = [&](Cursor cursor, std::uint64_t epochs, std::uint32_t world) {
    try {
      make_training_plan(index, 0, settings, cursor, epochs, 0, world);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kNothingToDo;
  };
  EXPECT_EQ(code({0, 3}, 1, 4), ErrorCode::kNothingToDo);
  EXPECT_EQ(code({0, 0}, 1, 5), ErrorCode::kConfig);
  EXPECT_EQ(code({0, 4}, 1, 1), ErrorCode::kBug);
  EXPECT_EQ(code({0, 0}, ~std::uint64_t{0}, 1), ErrorCode::kConfig);
}

TEST(EvaluationPlan, EveryRowOnceInDatasetOrderOnAnyNumberOfRanks) {
  RandomStream random(4711);
  Edges edges;
  for (int i = 0; i < testing::case_count() && !HasFailure(); ++i) {
    const OrderCase c = testing::random_case(random);
    SCOPED_TRACE("case " + std::to_string(i));
    const auto size = static_cast<std::uint32_t>(1 + random.below(random.below(2) == 0 ? 8 : 100));
    const auto world = static_cast<std::uint32_t>(1 + random.below(16));
    Samples every;
    for (std::uint32_t block = 0; block < c.index.blocks().size(); ++block) {
      for (const std::uint32_t row : c.index.rows_of(0, block)) {
        every.push_back({block, row, static_cast<std::uint32_t>(every.size() % size)});
      }
    }
    const std::uint64_t micro_batches = (every.size() + size - 1) / size;
    Samples seen;
    std::uint64_t next = 0;
    std::set<std::uint32_t> blocks_before;
    bool shared = false;
    bool spans = false;
    for (std::uint32_t rank = 0; rank < world; ++rank) {
      const auto plan = make_evaluation_plan(c.index, 0, size, rank, world);
      std::set<std::uint32_t> blocks;
      const Delivery delivery = deliver(*plan, plan->min_ring());
      ASSERT_FALSE(delivery.deadlock);
      std::uint32_t most = 0;
      for (std::uint64_t batch = 0; batch < plan->batches(); ++batch, ++next) {
        ASSERT_EQ(plan->step(batch), next);
        ASSERT_EQ(next * world / micro_batches, rank);
        if (next + 1 < micro_batches) {
          ASSERT_EQ(plan->rows(batch), size);
        }
        most = std::max(most, plan->rows(batch));
        for (const Sample& sample : delivery.batches[batch]) blocks.insert(sample.block);
        seen.insert(seen.end(), delivery.batches[batch].begin(), delivery.batches[batch].end());
      }
      EXPECT_EQ(plan->max_rows(), most);
      EXPECT_EQ(delivery.tasks, blocks.size()) << "a block is read once by a rank";
      for (const std::uint32_t block : blocks) shared |= blocks_before.contains(block);
      blocks_before.merge(blocks);
      spans |= plan->min_ring() > 2;
      edges.hit("a rank without micro-batches", plan->batches() == 0 && !every.empty());
    }
    ASSERT_EQ(next, micro_batches);
    ASSERT_EQ(seen, every);
    edges.hit("a block of two ranks", shared);
    edges.hit("a block in three micro-batches", spans);
    edges.hit("a shorter last micro-batch", every.size() > size && every.size() % size != 0);
    edges.hit("fewer rows than a micro-batch", !every.empty() && every.size() < size);
    edges.hit("an empty split", every.empty());
    edges.hit("micro-batches of one row", size == 1);
    edges.hit("more ranks than micro-batches", micro_batches > 0 && micro_batches < world);
    edges.hit("16 ranks", world == 16);
  }
  edges.expect_all_hit();
}

TEST(EvaluationPlan, OneBatchLessThanMinRingDeadlocks) {
  const RowIndex index = equal_blocks(10, 8);
  const auto plan = [&] { return make_evaluation_plan(index, 0, 3, 0, 1); };
  EXPECT_EQ(plan()->min_ring(), 4U);
  EXPECT_FALSE(deliver(*plan(), 4).deadlock);
  EXPECT_TRUE(deliver(*plan(), 3).deadlock);
}

TEST(EvaluationPlan, RefusesMicroBatchesWithoutRows) {
  EXPECT_THROW(make_evaluation_plan(equal_blocks(1, 1), 0, 0, 0, 1), Error);
}

}  // namespace
}  // namespace muster
