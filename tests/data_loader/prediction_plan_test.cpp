// Rows of a split dealt in rounds, so that they can be written in order as the rounds come in.
#include <set>

#include "core/error.h"
#include "data_loader/dataset/split_rows.h"
#include "data_loader/ingest/scored_rows.h"
#include "data_loader/order/batch_plan.h"
#include "tests/data_loader/error_of.h"
#include "tests/data_loader/plan_cases.h"
#include "tests/data_loader/random_columns.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

/// All rows of split 0 in dataset order.
Samples all_samples(const RowIndex& index, std::uint32_t micro_batch) {
  Samples every;
  for (std::uint32_t block = 0; block < index.blocks().size(); ++block) {
    for (const std::uint32_t row : index.rows_of(0, block))
      every.push_back({block, row, static_cast<std::uint32_t>(every.size() % micro_batch)});
  }
  return every;
}

TEST(PredictionPlan, RoundsLaidEndToEndAreTheSplitInOrderOnAnyNumberOfRanks) {
  RandomStream random(2718);
  Edges edges;
  for (int i = 0; i < case_count() && !HasFailure(); ++i) {
    const OrderCase c = random_case(random);
    SCOPED_TRACE("case " + std::to_string(i));
    const auto size = static_cast<std::uint32_t>(1 + random.below(random.below(2) == 0 ? 8 : 100));
    const auto world = static_cast<std::uint32_t>(1 + random.below(5));
    const std::uint64_t run = 1 + random.below(6);
    const Samples every = all_samples(c.index, size);
    const std::uint64_t micro_batches = (every.size() + size - 1) / size;
    std::vector<Samples> batches(micro_batches);
    std::set<std::uint32_t> blocks_before;
    bool shared = false;
    for (std::uint32_t rank = 0; rank < world; ++rank) {
      const auto plan = make_prediction_plan(c.index, 0, size, run, rank, world);
      std::set<std::uint32_t> blocks;
      const Delivery delivery = deliver(*plan, plan->min_ring());
      ASSERT_FALSE(delivery.deadlock);
      std::uint32_t most = 0;
      for (std::uint64_t batch = 0; batch < plan->batches(); ++batch) {
        const std::uint64_t step = plan->step(batch);
        ASSERT_LT(step, micro_batches);
        ASSERT_EQ(step / run % world, rank);
        ASSERT_EQ(batch / run, step / run / world) << "a batch of another round";
        ASSERT_TRUE(batches[step].empty()) << "two ranks have it";
        batches[step] = delivery.batches[batch];
        most = std::max(most, plan->rows(batch));
        for (const Sample& sample : delivery.batches[batch]) blocks.insert(sample.block);
      }
      EXPECT_EQ(plan->max_rows(), most);
      EXPECT_EQ(delivery.tasks, blocks.size()) << "a block is read once by a rank";
      for (const std::uint32_t block : blocks) shared |= blocks_before.contains(block);
      blocks_before.merge(blocks);
      edges.hit("a rank without micro-batches", plan->batches() == 0 && !every.empty());
      edges.hit("a last round that is cut short", plan->batches() % run != 0);
    }
    Samples seen;
    for (const Samples& batch : batches) seen.insert(seen.end(), batch.begin(), batch.end());
    ASSERT_EQ(seen, every);
    edges.hit("a block of two ranks", shared);
    edges.hit("several rounds", micro_batches > run * world);
    edges.hit("a shorter last micro-batch", every.size() > size && every.size() % size != 0);
    edges.hit("an empty split", every.empty());
  }
  edges.expect_all_hit();
}

TEST(PredictionPlan, OneBatchLessThanMinRingDeadlocks) {
  const RowIndex index = equal_blocks(10, 8);
  const auto plan = [&] { return make_prediction_plan(index, 0, 3, 2, 0, 1); };
  EXPECT_EQ(plan()->min_ring(), 4U);
  EXPECT_FALSE(deliver(*plan(), 4).deadlock);
  EXPECT_TRUE(deliver(*plan(), 3).deadlock);
}

TEST(SplitRows, GivesRowsInOrderWhateverThePieces) {
  RandomStream random(161);
  Edges edges;
  const Contract contract = contract_of("  a: {dtype: int64}\n  b: {dtype: uint8, shape: [3]}\n");
  for (int i = 0; i < 300 && !HasFailure(); ++i) {
    const auto blocks = random_blocks(random);
    const RowIndex index = random_split(random, blocks);
    std::size_t rows = 0;
    for (const Block& block : blocks) rows += block.rows;
    std::vector<std::int64_t> a(rows);
    std::vector<std::uint8_t> b(rows * 3);
    for (std::size_t row = 0; row < rows; ++row) a[row] = static_cast<std::int64_t>(row);
    for (std::size_t at = 0; at < b.size(); ++at) b[at] = static_cast<std::uint8_t>(at / 3 * 7 + at % 3);
    const auto reader = make_memory_block_reader(contract, blocks, {column_of(a), column_of(b)});
    std::vector<std::size_t> starts{0};
    for (const Block& block : blocks) starts.push_back(starts.back() + block.rows);
    SplitRows it(*reader, contract, index, 0, {1, 0});
    const Samples every = all_samples(index, 1);
    std::size_t pieces = 0;
    for (std::size_t first = 0; first < every.size(); ++pieces) {
      const std::size_t count = std::min<std::size_t>(every.size() - first, random.below(90));
      it.next(count);
      ASSERT_EQ(it.ids().size(), count);
      ASSERT_EQ(it.column(0).size(), count * 3);
      for (std::size_t k = 0; k < count; ++k) {
        const Sample& sample = every[first + k];
        const std::size_t row = starts[sample.block] + sample.row;
        ASSERT_EQ(it.ids()[k],
                  (RowId{blocks[sample.block].partition, blocks[sample.block].first_row + sample.row}));
        ASSERT_EQ(value_at(contract.fields()[1], {it.column(0).begin(), it.column(0).end()}, k * 3),
                  static_cast<std::uint8_t>(row * 7));
        ASSERT_EQ(value_at(contract.fields()[0], {it.column(1).begin(), it.column(1).end()}, k),
                  static_cast<double>(row));
      }
      first += count;
      edges.hit("no rows", count == 0);
    }
    edges.hit("many pieces", pieces > 5);
    edges.hit("an empty split", every.empty());
    EXPECT_EQ(error_of([&] { it.next(1); }).code(), ErrorCode::kBug);
  }
  edges.expect_all_hit();
}

TEST(ScoredRows, LeavesOutWhatADropLeavesOut) {
  const Contract contract = contract_of(
      "  x: {dtype: float32, missing: drop}\n"
      "  t: {dtype: string, length: 2, missing: drop, transform: category}\n"
      "  y: {dtype: int8, missing: drop, missing_value: -1, role: label}\n"
      "  z: {dtype: float64, missing: impute}\n");
  const std::vector<Block> blocks{{0, 0, 3}, {1, 0, 2}};
  const float nan = std::nanf("");
  const double missing = std::nan("");
  const auto reader = make_memory_block_reader(
      contract, blocks,
      {column_of<float>({1, nan, 3, 4, 5}), column_of<char>({'a', 0, 'b', 0, 'c', 0, 0, 0, 'd', 'e'}),
       column_of<std::int8_t>({-1, 1, 1, 1, 1}), column_of<double>({missing, 1, 1, 1, missing})});
  const std::vector<std::size_t> inputs{0, 1, 3};
  const RowIndex index = index_scored_rows(*reader, contract, inputs);
  EXPECT_EQ(index.rows(0), 3U);
  EXPECT_EQ(index.rows_of(0, 0), (std::vector<std::uint32_t>{0, 2}));
  EXPECT_EQ(index.rows_of(0, 1), (std::vector<std::uint32_t>{1}));
}

}  // namespace
}  // namespace muster
