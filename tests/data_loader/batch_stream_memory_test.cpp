// What plan_memory says, held against every byte that the process allocates.

#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>

#include "tests/data_loader/stream_case.h"

namespace {

std::atomic<std::int64_t> live_bytes{0};
std::atomic<std::int64_t> peak_bytes{0};

void* counted(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  const auto now = live_bytes += static_cast<std::int64_t>(malloc_usable_size(memory));
  auto peak = peak_bytes.load();
  while (now > peak && !peak_bytes.compare_exchange_weak(peak, now)) {
  }
  return memory;
}

void uncounted(void* memory) {
  if (memory != nullptr) live_bytes -= static_cast<std::int64_t>(malloc_usable_size(memory));
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t size) { return counted(std::malloc(size)); }
void* operator new[](std::size_t size) { return counted(std::malloc(size)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto unit = static_cast<std::size_t>(alignment);
  return counted(std::aligned_alloc(unit, (size + unit - 1) / unit * unit));
}
void operator delete(void* memory) noexcept { uncounted(memory); }
void operator delete[](void* memory) noexcept { uncounted(memory); }
void operator delete(void* memory, std::size_t) noexcept { uncounted(memory); }
void operator delete[](void* memory, std::size_t) noexcept { uncounted(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { uncounted(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { uncounted(memory); }

namespace muster {
namespace {

using testing::StreamCase;

RowIndex index_of(std::uint32_t blocks, std::uint32_t rows) {
  std::vector<Block> all;
  for (std::uint32_t i = 0; i < blocks; ++i) all.push_back({0, std::uint64_t{i} * rows, rows});
  RowIndex index({"train"}, all);
  for (std::uint32_t i = 0; i < blocks; ++i) index.append_block(std::vector<std::uint8_t>(rows, 0));
  return index;
}

TEST(StreamMemory, IsWhatAStreamTakesAtMost) {
  RandomStream random(21);
  struct Case {
    std::uint32_t blocks;
    std::uint32_t rows;
    OrderSettings settings;
    StreamOptions options;
  };
  const std::uint64_t plenty = std::uint64_t{1} << 30;
  const Case cases[] = {{60, 300, {1, 64, 16, 2}, {.threads = 1, .memory = plenty}},
                        {60, 300, {1, 64, 16, 2}, {.threads = 4, .memory = plenty}},
                        {400, 10, {1, 8, 8, 30}, {.threads = 4, .memory = plenty}},
                        {6, 4000, {1, 1024, 2, 1}, {.threads = 3, .memory = plenty}},
                        {60, 300, {1, 64, 16, 2}, {.threads = 2, .memory = 0}}};
  for (const Case& c : cases) {
    SCOPED_TRACE(&c - cases);
    const RowIndex index = index_of(c.blocks, c.rows);
    StreamCase it = testing::random_stream(index.blocks(), random);
    StreamOptions options = c.options;
    if (options.memory == 0) options.memory = 2'500'000;  // between the least and what is wanted
    const std::int64_t before = live_bytes;
    peak_bytes = before;
    StreamMemory stated;
    {
      BatchStream stream =
          testing::make_stream(it, make_training_plan(index, 0, c.settings, {}, 2, 0, 1), options);
      stated = stream.memory();
      while (stream.next() != nullptr) {
      }
    }
    const auto peak = static_cast<std::uint64_t>(peak_bytes - before);
    const std::uint64_t machinery = 4096 + 1024 * options.threads;  // threads, locks, the plan object
    EXPECT_LE(peak, stated.total() + machinery);
    EXPECT_GE(peak + machinery, stated.total() / 2) << "the bound is far too loose";
    EXPECT_LE(stated.total(), options.memory);
  }
}

TEST(StreamMemory, WantsTwiceTheLeastRingAndTwoMoreButNoMoreThanThePlanHas) {
  RandomStream random(22);
  const RowIndex index = index_of(60, 300);
  StreamCase it = testing::random_stream(index.blocks(), random);
  const auto memory_of = [&](const BatchPlan& plan, std::uint64_t memory) {
    return plan_memory(plan, it.pipeline, it.contract, index.blocks(), {.threads = 2, .memory = memory});
  };
  const auto plan = make_training_plan(index, 0, {1, 64, 16, 1}, {}, 2, 0, 1);
  const StreamMemory all = memory_of(*plan, std::uint64_t{1} << 40);
  EXPECT_EQ(all.ring_batches, 2 * plan->min_ring() + 2);
  EXPECT_EQ(all.plan_bytes, plan->plan_bytes());
  std::uint64_t row_bytes = sizeof(RowPlace);
  for (const std::size_t field : it.pipeline.source_fields()) {
    row_bytes += it.contract.fields()[field].bytes_per_row();
  }
  EXPECT_GE(all.block_bytes, 2 * 300 * row_bytes);  // a block for each of two threads
  const std::uint64_t batch = all.ring_bytes / all.ring_batches;
  EXPECT_GE(batch, Batch::bytes(it.pipeline.tensors(), plan->max_rows()));
  EXPECT_EQ(memory_of(*plan, all.total()).ring_batches, all.ring_batches);
  EXPECT_EQ(memory_of(*plan, all.total() - 1).ring_batches, all.ring_batches - 1);
  const std::uint64_t least = all.total() - batch * (all.ring_batches - plan->min_ring());
  EXPECT_EQ(memory_of(*plan, least).ring_batches, plan->min_ring());
  EXPECT_EQ(memory_of(*plan, least).total(), least);
  EXPECT_THROW(memory_of(*plan, least - 1), Error);
  const auto shorter = make_evaluation_plan(index, 0, 6000, 0, 1);
  ASSERT_EQ(shorter->batches(), 3U);
  EXPECT_EQ(memory_of(*shorter, std::uint64_t{1} << 40).ring_batches, 3U);
}

TEST(StreamMemory, TooLittleIsRefusedWithTheBytesAndTheRanksNeeded) {
  RandomStream random(23);
  const RowIndex index = index_of(60, 300);
  StreamCase it = testing::random_stream(index.blocks(), random);
  const OrderSettings settings{1, 64, 16, 2};
  const auto message = [&](std::uint32_t world, const StreamOptions& options) -> std::string {
    try {
      const auto plan = make_training_plan(index, 0, settings, {}, 2, 0, world);
      (void)plan_memory(*plan, it.pipeline, it.contract, index.blocks(), options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kConfig);
      return error.message();
    }
    return "";
  };
  const std::string small = message(1, {.threads = 1, .memory = 1000});
  EXPECT_NE(small.find("loader.memory is"), std::string::npos) << small;
  EXPECT_EQ(small.find("ranks"), std::string::npos) << small;
  const auto at = small.find("at least ");
  ASSERT_NE(at, std::string::npos);
  const std::uint64_t needed = std::stoull(small.substr(small.find('(', at) + 1));
  EXPECT_NE(message(1, {.threads = 1, .memory = needed - 1}), "");
  EXPECT_EQ(message(1, {.threads = 1, .memory = needed}), "");

  const std::string third =
      message(1, {.threads = 1, .memory = needed / 3, .world = 1, .lanes = settings.lanes});
  const auto advice = third.find(", or ");
  ASSERT_NE(advice, std::string::npos) << third;
  const auto ranks = static_cast<std::uint32_t>(std::stoul(third.substr(advice + 5)));
  EXPECT_GT(ranks, 1U);
  EXPECT_EQ(message(ranks, {.threads = 1, .memory = needed / 3}), "") << third;
  // One rank fewer can do where the plan itself shrinks with its lanes; two cannot.
  EXPECT_NE(message(ranks - 2, {.threads = 1, .memory = needed / 3}), "") << third;
  const std::string hopeless =
      message(1, {.threads = 1, .memory = 1000, .world = 1, .lanes = settings.lanes});
  EXPECT_EQ(hopeless.find("ranks"), std::string::npos) << hopeless;
}

}  // namespace
}  // namespace muster
