#include "data_loader/stream/batch_stream.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>
#include <thread>

#include "data_loader/reading/hooked_block_reader.h"
#include "tests/data_loader/stream_case.h"

namespace muster {
namespace {

using testing::Place;
using testing::StreamCase;

void nap() { std::this_thread::sleep_for(std::chrono::microseconds(200)); }

void expect_same(const Batch& got, const Batch& want) {
  ASSERT_EQ(got.rows(), want.rows());
  EXPECT_EQ(got.step, want.step);
  ASSERT_EQ(got.specs(), want.specs());
  EXPECT_TRUE(std::ranges::equal(got.ids(), want.ids()));
  EXPECT_TRUE(std::ranges::equal(got.positions(), want.positions()));
  EXPECT_TRUE(std::ranges::equal(got.weights(), want.weights()));
  for (std::size_t tensor = 0; tensor < got.specs().size(); ++tensor) {
    const std::size_t bytes = got.rows() * got.specs()[tensor].bytes_per_row();
    EXPECT_EQ(std::memcmp(got.data(tensor), want.data(tensor), bytes), 0) << got.specs()[tensor].name;
  }
}

/// Bytes that the plan needs with the least ring.
std::uint64_t least_memory(const BatchPlan& plan, StreamCase& it, StreamOptions options) {
  options.memory = std::numeric_limits<std::uint64_t>::max();
  const auto& blocks = it.reader->blocks();
  const StreamMemory all = plan_memory(plan, it.pipeline, it.contract, blocks, options);
  const std::uint64_t least = std::max<std::uint64_t>(1, std::min(plan.min_ring(), plan.batches()));
  return all.block_bytes + all.plan_bytes + all.ring_bytes / all.ring_batches * least;
}

/// Threads, memory (the least, or plenty) and speed of the two sides, at random.
struct Manner {
  StreamOptions options;
  bool slow_consumer = false;
};

Manner random_manner(const BatchPlan& plan, StreamCase& it, RandomStream& random, testing::Edges& edges) {
  Manner manner;
  manner.options.threads = static_cast<unsigned>(1 + random.below(4));
  const bool tight = random.below(2) == 0;
  if (tight) manner.options.memory = least_memory(plan, it, manner.options);
  manner.slow_consumer = random.below(8) == 0;
  edges.hit("least ring", tight);
  edges.hit("slow consumer", manner.slow_consumer);
  edges.hit("one thread", manner.options.threads == 1);
  edges.hit("four threads", manner.options.threads == 4);
  return manner;
}

/// The rows of the split, of a training order's slots.
std::vector<Place> places_of(const RowIndex& index, const std::vector<Slot>& slots) {
  std::vector<Place> places;
  for (const Slot& slot : slots) places.push_back({slot.block, index.rows_of(0, slot.block)[slot.row]});
  return places;
}

TEST(BatchStream, TrainingGivesWhatTheOrderSays) {
  RandomStream random(11);
  testing::Edges edges;
  for (int i = 0; i < testing::case_count() / 5; ++i) {
    SCOPED_TRACE(i);
    const testing::OrderCase order_case = testing::random_case(random);
    const RowIndex& index = order_case.index;
    StreamCase it = testing::random_stream(index.blocks(), random);
    const SampleOrder order(order_case.counts(), order_case.settings);
    const std::uint64_t steps = order.steps_per_epoch();
    Cursor cursor{random.below(3), steps == 0 ? 0 : random.below(steps)};
    const std::uint64_t epochs = cursor.epoch + 1 + random.below(2);
    const auto rank = static_cast<std::uint32_t>(random.below(order_case.world));
    const LaneRange lanes = lanes_of_rank(rank, order_case.world, order_case.settings.lanes);

    auto plan = make_training_plan(index, 0, order_case.settings, cursor, epochs, rank, order_case.world);
    const Manner manner = random_manner(*plan, it, random, edges);
    BatchStream stream = testing::make_stream(it, std::move(plan), manner.options);
    for (std::uint64_t epoch = cursor.epoch; epoch < epochs; ++epoch) {
      const EpochOrder epoch_order = order.epoch(epoch);
      for (std::uint64_t step = epoch == cursor.epoch ? cursor.step : 0; step < steps; ++step) {
        const auto places = places_of(index, epoch_order.batch(step, lanes));
        const Batch* batch = stream.next();
        ASSERT_NE(batch, nullptr);
        expect_same(*batch, plain_batch(it, places, epoch_order.first_position(step, lanes.first),
                                        epoch * steps + step));
        edges.hit("a batch without rows", places.empty());
        if (manner.slow_consumer) nap();
      }
    }
    EXPECT_EQ(stream.next(), nullptr);
    EXPECT_EQ(stream.next(), nullptr);
    edges.hit("empty split", order.rows() == 0);
    edges.hit("from the middle of an epoch", cursor.step > 0);
    edges.hit("several epochs", steps > 0 && epochs > cursor.epoch + 1);
  }
  edges.expect_all_hit();
}

TEST(BatchStream, EvaluationGivesTheSplitInDatasetOrder) {
  RandomStream random(12);
  testing::Edges edges;
  for (int i = 0; i < testing::case_count() / 5; ++i) {
    SCOPED_TRACE(i);
    const RowIndex index = testing::random_split(random, testing::random_blocks(random));
    StreamCase it = testing::random_stream(index.blocks(), random);
    std::vector<Place> all;
    for (std::uint32_t block = 0; block < index.blocks().size(); ++block) {
      for (const std::uint32_t row : index.rows_of(0, block)) all.push_back({block, row});
    }
    const auto micro_batch = static_cast<std::uint32_t>(1 + random.below(30));
    const auto world = static_cast<std::uint32_t>(1 + random.below(5));
    std::uint64_t row = 0;
    std::uint64_t number = 0;
    for (std::uint32_t rank = 0; rank < world; ++rank) {
      auto plan = make_evaluation_plan(index, 0, micro_batch, rank, world);
      const Manner manner = random_manner(*plan, it, random, edges);
      edges.hit("a rank without batches", plan->batches() == 0);
      BatchStream stream = testing::make_stream(it, std::move(plan), manner.options);
      while (const Batch* batch = stream.next()) {
        const std::uint64_t until = std::min<std::uint64_t>(row + micro_batch, all.size());
        const std::vector<Place> places(all.begin() + static_cast<std::ptrdiff_t>(row),
                                        all.begin() + static_cast<std::ptrdiff_t>(until));
        ASSERT_FALSE(places.empty());
        expect_same(*batch, plain_batch(it, places, 0, number++));
        row = until;
        if (manner.slow_consumer) nap();
      }
    }
    EXPECT_EQ(row, all.size());
    edges.hit("empty split", all.empty());
  }
  edges.expect_all_hit();
}

/// 40 blocks of 25 rows in two partitions, all in split 0.
RowIndex plain_index() {
  std::vector<Block> blocks;
  for (std::uint32_t i = 0; i < 40; ++i) blocks.push_back({i / 20, std::uint64_t{i % 20} * 25, 25});
  RowIndex index({"train"}, blocks);
  for (std::uint32_t i = 0; i < 40; ++i) index.append_block(std::vector<std::uint8_t>(25, 0));
  return index;
}

constexpr OrderSettings kSettings{.seed = 1, .batch_size = 32, .lanes = 4, .window = 2};

std::unique_ptr<BatchPlan> plain_plan(const RowIndex& index, std::uint64_t epochs = 1) {
  return make_training_plan(index, 0, kSettings, {}, epochs, 0, 1);
}

/// Passes reads on, after a nap; from block read number `fails_from` on it throws instead.
class TryingReader : public BlockReader {
 public:
  TryingReader(BlockReader& inner, std::uint64_t fails_from) : inner_(inner), fails_from_(fails_from) {}
  void read(std::uint32_t block, std::size_t field, std::span<std::byte> out) override {
    nap();
    if (reads_++ >= fails_from_) throw Error(ErrorCode::kStorage, "the disk is gone", "part-7.h5:amount[25]");
    inner_.read(block, field, out);
  }
  const std::vector<Block>& blocks() const override { return inner_.blocks(); }
  std::string partition_name(std::uint32_t partition) const override {
    return "part-" + std::to_string(partition) + ".h5";
  }

 private:
  BlockReader& inner_;
  std::uint64_t fails_from_;
  std::atomic<std::uint64_t> reads_ = 0;
};

TEST(BatchStream, ASlowReaderDelaysAndChangesNothing) {
  RandomStream random(13);
  const RowIndex index = plain_index();
  StreamCase it = testing::random_stream(index.blocks(), random);
  TryingReader slow(*it.reader, ~std::uint64_t{0});
  BatchStream stream(plain_plan(index), slow, it.contract, it.pipeline, {.threads = 3});
  BatchStream other = testing::make_stream(it, plain_plan(index));
  EXPECT_EQ(stream.wait_seconds(), 0);
  std::uint64_t rows = 0;
  while (const Batch* batch = stream.next()) {
    expect_same(*batch, *other.next());
    rows += batch->rows();
  }
  EXPECT_EQ(rows, 1000U);
  EXPECT_GT(stream.wait_seconds(), 0);
}

TEST(BatchStream, AWaitEndsWhenAskedToAndTheBatchStillComes) {
  RandomStream random(16);
  const RowIndex index = plain_index();
  StreamCase it = testing::random_stream(index.blocks(), random);
  std::atomic<bool> open = false;
  const auto gated =
      make_hooked_block_reader(make_memory_block_reader(it.contract, index.blocks(), it.columns),
                               [&](std::uint32_t, std::size_t) { open.wait(false); });
  BatchStream stream(plain_plan(index), *gated, it.contract, it.pipeline, {.threads = 2});
  BatchStream other = testing::make_stream(it, plain_plan(index));
  int asked = 0;
  EXPECT_FALSE(stream.wait([&] { return ++asked == 3; }));
  EXPECT_EQ(asked, 3);
  EXPECT_GT(stream.wait_seconds(), 0.25);
  open = true;
  open.notify_all();
  while (true) {
    EXPECT_TRUE(stream.wait([] { return false; }));
    const Batch* batch = stream.next();
    const Batch* expected = other.next();
    ASSERT_EQ(batch == nullptr, expected == nullptr);
    if (batch == nullptr) break;
    expect_same(*batch, *expected);
  }
  EXPECT_TRUE(stream.wait([] { return true; })) << "the end is an answer";
}

TEST(BatchStream, AReadErrorReachesTheConsumerAsItIs) {
  RandomStream random(14);
  const RowIndex index = plain_index();
  StreamCase it = testing::random_stream(index.blocks(), random);
  for (const unsigned threads : {1U, 2U, 4U}) {
    for (const std::uint64_t fails_from : {0U, 3U, 50U, 199U}) {
      SCOPED_TRACE(std::to_string(threads) + " threads, from read " + std::to_string(fails_from));
      TryingReader reader(*it.reader, fails_from);
      BatchStream stream(plain_plan(index), reader, it.contract, it.pipeline, {.threads = threads});
      for (int again = 0; again < 2; ++again) {
        try {
          while (stream.next() != nullptr) {
          }
          ADD_FAILURE() << "the error was swallowed";
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ErrorCode::kStorage);
          EXPECT_STREQ(error.what(), "part-7.h5:amount[25]: the disk is gone");
        }
      }
    }
  }
}

TEST(BatchStream, ABadValueIsToldWithFileDatasetAndRow) {
  RandomStream random(15);
  const RowIndex index = plain_index();
  StreamCase it = testing::random_stream(index.blocks(), random, "  x: {dtype: float32, path: in/x}\n");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(it.columns[0].data() + 731 * sizeof nan, &nan, sizeof nan);  // row 231 of partition 1
  it.reader = make_memory_block_reader(it.contract, index.blocks(), it.columns);
  TryingReader named(*it.reader, ~std::uint64_t{0});
  for (BlockReader* reader : {it.reader.get(), static_cast<BlockReader*>(&named)}) {
    BatchStream stream(plain_plan(index), *reader, it.contract, it.pipeline, {.threads = 2});
    try {
      while (stream.next() != nullptr) {
      }
      ADD_FAILURE() << "the NaN was not noticed";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kData);
      EXPECT_EQ(error.where(), reader == &named ? "part-1.h5:in/x[231]" : "partition 1:in/x[231]");
    }
  }
}

TEST(BatchStream, CanBeDestroyedAtAnyTime) {
  RandomStream random(16);
  const RowIndex index = plain_index();
  StreamCase it = testing::random_stream(index.blocks(), random);
  for (const unsigned threads : {1U, 2U, 4U}) {
    for (const int batches : {0, 1, 5, 31, 32}) {
      for (const bool pause : {false, true}) {  // paused: the threads wait for room
        BatchStream stream = testing::make_stream(it, plain_plan(index, 2), {.threads = threads});
        for (int i = 0; i < batches; ++i) ASSERT_NE(stream.next(), nullptr);
        if (pause) std::this_thread::sleep_for(std::chrono::milliseconds(3));
      }
    }
  }
}

TEST(BatchStream, ABatchCanBeSeenBeforeItsTurn) {
  RandomStream random(12);
  const RowIndex index = plain_index();
  StreamCase it = testing::random_stream(index.blocks(), random);
  BatchStream stream = testing::make_stream(it, plain_plan(index), {.threads = 2});
  int seen = 0;
  const Batch* ahead = nullptr;
  for (const Batch* batch = stream.next(); batch != nullptr; batch = stream.next()) {
    if (ahead != nullptr) {
      EXPECT_EQ(batch, ahead);
    }
    nap();
    ahead = stream.ahead();
    if (ahead == nullptr) continue;
    EXPECT_EQ(ahead->step, batch->step + 1);
    EXPECT_EQ(stream.ahead(), ahead);
    ++seen;
  }
  EXPECT_GT(seen, 0);
  EXPECT_EQ(stream.ahead(), nullptr);
}

TEST(BatchStream, ABatchStaysAsItIsUntilTheNextCall) {
  RandomStream random(17);
  const RowIndex index = plain_index();
  StreamCase it = testing::random_stream(index.blocks(), random);
  auto plan = plain_plan(index);
  StreamOptions options{.threads = 4};
  options.memory = least_memory(*plan, it, options);
  BatchStream stream = testing::make_stream(it, std::move(plan), options);
  while (const Batch* batch = stream.next()) {
    const std::vector<RowId> ids(batch->ids().begin(), batch->ids().end());
    const std::size_t bytes = batch->rows() * batch->specs()[1].bytes_per_row();
    const std::vector<std::byte> image(batch->data(1), batch->data(1) + bytes);
    nap();
    EXPECT_TRUE(std::ranges::equal(batch->ids(), ids));
    EXPECT_EQ(std::memcmp(batch->data(1), image.data(), bytes), 0);
  }
}

/// Tasks as a test gives them; two batches of two rows.
class WrittenPlan : public BatchPlan {
 public:
  explicit WrittenPlan(std::vector<BlockTask> tasks) : tasks_(std::move(tasks)) {}
  std::optional<BlockTask> next_task() override {
    return given_ < tasks_.size() ? std::optional(tasks_[given_++]) : std::nullopt;
  }
  std::uint64_t batches() const override { return 2; }
  std::uint32_t rows(std::uint64_t) const override { return 2; }
  std::uint64_t step(std::uint64_t batch) const override { return batch; }
  std::uint32_t max_rows() const override { return 2; }
  std::uint64_t min_ring() const override { return 1; }
  std::uint64_t plan_bytes() const override { return 0; }

 private:
  std::vector<BlockTask> tasks_;
  std::size_t given_ = 0;
};

TEST(BatchStream, APlanThatIsWrongIsABugAndNoHang) {
  RandomStream random(18);
  StreamCase it = testing::random_stream(plain_index().blocks(), random);
  const BlockTask first{0, 0, {{5, 0, 0, 0}, {6, 0, 1, 1}}};
  const std::vector<BlockTask> wrong[] = {
      {first},                                                      // batch 1 never comes
      {first, {1, 1, {{0, 1, 0, 0}}}},                              // half of it
      {first, {1, 1, {{0, 1, 2, 0}, {1, 1, 1, 1}}}},                // a row beyond the batch
      {first, {1, 1, {{25, 1, 0, 0}, {1, 1, 1, 1}}}},               // a row beyond the block
      {first, {1, 1, {{0, 2, 0, 0}, {1, 1, 1, 1}}}},                // a batch beyond the task's last
      {first, {1, 1, {{0, 1, 0, 0}, {1, 1, 1, 1}, {2, 1, 0, 0}}}},  // a place twice
      {first, {40, 1, {{0, 1, 0, 0}, {1, 1, 1, 1}}}},               // no such block
  };
  for (const auto& tasks : wrong) {
    BatchStream stream = testing::make_stream(it, std::make_unique<WrittenPlan>(tasks), {.threads = 2});
    EXPECT_ANY_THROW({
      while (stream.next() != nullptr) {
      }
    }) << &tasks - wrong;
  }
  const std::vector<BlockTask> right = {first, {1, 1, {{0, 1, 0, 0}, {1, 1, 1, 1}}}};
  BatchStream stream = testing::make_stream(it, std::make_unique<WrittenPlan>(right), {.threads = 2});
  for (int i = 0; i < 2; ++i) EXPECT_NE(stream.next(), nullptr);
  EXPECT_EQ(stream.next(), nullptr);
}

}  // namespace
}  // namespace muster
