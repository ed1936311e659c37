#include "data_loader/contract/batch.h"

#include <gtest/gtest.h>

#include <numeric>

#include "core/error.h"

namespace muster {
namespace {

using Kind = TensorSpec::Kind;

std::vector<TensorSpec> specs() {
  return {{"features", Kind::kFloat32, {3}}, {"image", Kind::kFloat32, {2, 5}}, {"label", Kind::kInt64, {}}};
}

TEST(Batch, SpecsCountValuesAndBytes) {
  EXPECT_EQ(specs()[0].bytes_per_row(), 12U);
  EXPECT_EQ(specs()[1].values_per_row(), 10U);
  EXPECT_EQ(specs()[2].values_per_row(), 1U);
  EXPECT_EQ(specs()[2].bytes_per_row(), 8U);
}

TEST(Batch, TensorsAreAlignedPackedAndApart) {
  Batch batch(specs(), 7, aligned_allocator());
  batch.set_rows(7);
  std::iota(batch.floats(0), batch.floats(0) + 21, 100.0F);
  std::iota(batch.floats(1), batch.floats(1) + 70, 200.0F);
  std::iota(batch.integers(2), batch.integers(2) + 7, 300);
  for (std::size_t tensor = 0; tensor < 3; ++tensor) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(batch.data(tensor)) % 64, 0U);
  }
  for (int i = 0; i < 21; ++i) EXPECT_EQ(batch.floats(0)[i], 100.0F + static_cast<float>(i));
  for (int i = 0; i < 70; ++i) EXPECT_EQ(batch.floats(1)[i], 200.0F + static_cast<float>(i));
  for (int i = 0; i < 7; ++i) EXPECT_EQ(batch.integers(2)[i], 300 + i);
}

TEST(Batch, RowsAreAtMostTheCapacity) {
  Batch batch(specs(), 4, aligned_allocator());
  EXPECT_EQ(batch.rows(), 0U);
  batch.set_rows(4);
  EXPECT_EQ(batch.ids().size(), 4U);
  EXPECT_EQ(batch.weights().size(), 4U);
  EXPECT_EQ(batch.positions().size(), 4U);
  batch.set_rows(3);
  EXPECT_EQ(batch.ids().size(), 3U);
  EXPECT_THROW(batch.set_rows(5), Error);
  EXPECT_EQ(batch.rows(), 3U);
}

TEST(Batch, RowsAreOfLanesInOrder) {
  Batch batch(specs(), 6, aligned_allocator());
  EXPECT_TRUE(batch.lanes().empty());
  const std::vector<std::uint32_t> lanes{2, 0, 3};
  batch.set_lanes(lanes);
  EXPECT_EQ(batch.rows(), 5U);
  EXPECT_EQ(std::vector<std::uint32_t>(batch.lanes().begin(), batch.lanes().end()),
            (std::vector<std::uint32_t>{2, 3}));
  batch.bad()[1] = 1;
  batch.drop_bad_rows();
  EXPECT_EQ(std::vector<std::uint32_t>(batch.lanes().begin(), batch.lanes().end()),
            (std::vector<std::uint32_t>{4}));
  batch.set_rows(0);
  EXPECT_TRUE(batch.lanes().empty());
}

TEST(Batch, FindsTensorsByName) {
  const Batch batch(specs(), 1, aligned_allocator());
  EXPECT_EQ(batch.find("features"), 0);
  EXPECT_EQ(batch.find("label"), 2);
  EXPECT_EQ(batch.find("weight"), -1);
}

TEST(Batch, TakesOneBufferWithinItsBytes) {
  for (const std::size_t capacity : {0U, 1U, 16U, 1000U}) {
    std::vector<std::size_t> asked;
    const Batch batch(specs(), capacity, [&](std::size_t bytes) {
      asked.push_back(bytes);
      return aligned_allocator()(bytes);
    });
    ASSERT_EQ(asked.size(), 1U);
    EXPECT_GE(asked[0], capacity * (12 + 40 + 8 + 4));                  // and the weights
    const std::size_t beside = capacity * (1 + sizeof(RowId) + 4 + 4);  // bad, id, position, lane
    EXPECT_GE(Batch::bytes(specs(), capacity), asked[0] + beside);
    EXPECT_LE(Batch::bytes(specs(), capacity), asked[0] + beside + 2048);
  }
}

TEST(Batch, RefusesMemoryThatIsNotAligned) {
  const auto crooked = [](std::size_t bytes) {
    const auto whole = aligned_allocator()(bytes + 64);
    return std::shared_ptr<std::byte>(whole, whole.get() + 8);
  };
  EXPECT_THROW(Batch(specs(), 2, crooked), Error);
}

TEST(Batch, KeepsItsBufferWhenMoved) {
  Batch batch(specs(), 2, aligned_allocator());
  batch.set_rows(2);
  batch.integers(2)[1] = 42;
  const std::byte* where = batch.data(2);
  const Batch moved = std::move(batch);
  EXPECT_EQ(moved.data(2), where);
  EXPECT_EQ(reinterpret_cast<const std::int64_t*>(moved.data(2))[1], 42);
  static_assert(!std::is_copy_constructible_v<Batch>);
}

}  // namespace
}  // namespace muster
