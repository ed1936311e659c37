// Counts every byte that the process allocates, so that what a plan says it keeps can be held against what it
// keeps.

#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "data_loader/order/batch_plan.h"

namespace {

std::atomic<std::int64_t> live_bytes{0};
std::atomic<std::int64_t> peak_bytes{0};

void* counted(std::size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  const auto now = live_bytes += static_cast<std::int64_t>(malloc_usable_size(memory));
  if (now > peak_bytes) peak_bytes = now;
  return memory;
}

void uncounted(void* memory) {
  if (memory != nullptr) live_bytes -= static_cast<std::int64_t>(malloc_usable_size(memory));
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void operator delete(void* memory) noexcept { uncounted(memory); }
void operator delete[](void* memory) noexcept { uncounted(memory); }
void operator delete(void* memory, std::size_t) noexcept { uncounted(memory); }
void operator delete[](void* memory, std::size_t) noexcept { uncounted(memory); }

namespace muster {
namespace {

RowIndex index_of(std::uint32_t blocks, std::uint32_t rows) {
  std::vector<Block> all;
  for (std::uint32_t i = 0; i < blocks; ++i) all.push_back({0, std::uint64_t{i} * rows, rows});
  RowIndex index({"train"}, all);
  const std::vector<std::uint8_t> split(rows, 0);
  for (std::uint32_t i = 0; i < blocks; ++i) index.append_block(split);
  return index;
}

/// Peak of the bytes live while a plan is made and run to its end, without one task's.
std::uint64_t peak_of_training(const RowIndex& index, const OrderSettings& settings, std::uint32_t rank,
                               std::uint32_t world) {
  const std::int64_t before = live_bytes;
  peak_bytes = before;
  const auto plan = make_training_plan(index, 0, settings, {0, 1}, 3, rank, world);
  while (plan->next_task()) {
  }
  return static_cast<std::uint64_t>(peak_bytes - before);
}

TEST(BatchPlanMemory, PlanBytesIsWhatATrainingPlanKeepsAtMost) {
  struct Case {
    std::uint32_t blocks;
    std::uint32_t rows;
    OrderSettings settings;
    std::uint32_t world;
  };
  const Case cases[] = {{20000, 8, {1, 256, 64, 8}, 1},
                        {20000, 8, {1, 256, 64, 8}, 5},
                        {20000, 8, {1, 256, 64, 1}, 1},
                        {300, 500, {2, 64, 2, 100}, 1},
                        {10, 50, {3, 4096, 4096, 3}, 1}};
  for (const Case& c : cases) {
    SCOPED_TRACE(std::to_string(c.blocks) + " blocks, window " + std::to_string(c.settings.window));
    const RowIndex index = index_of(c.blocks, c.rows);
    const std::uint64_t stated =
        make_training_plan(index, 0, c.settings, {0, 1}, 3, 0, c.world)->plan_bytes();
    const std::uint64_t peak = peak_of_training(index, c.settings, 0, c.world);
    const std::uint64_t task =
        c.rows * (sizeof(RowPlace) + 3 * sizeof(std::uint32_t)) + 2048;  // and the plan itself
    EXPECT_LE(peak, stated + task);
    EXPECT_GE(peak + task, stated / 2) << "the bound is far too loose";
  }
}

TEST(BatchPlanMemory, PlanBytesIsWhatAnEvaluationPlanKeepsAtMost) {
  const RowIndex index = index_of(20000, 8);
  const std::int64_t before = live_bytes;
  peak_bytes = before;
  const auto plan = make_evaluation_plan(index, 0, 100, 1, 3);
  while (plan->next_task()) {
  }
  EXPECT_LE(static_cast<std::uint64_t>(peak_bytes - before), plan->plan_bytes() + 2048);
}

}  // namespace
}  // namespace muster
