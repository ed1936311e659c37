// The order of samples: digests that never change, how well it shuffles, and what is refused.
#include "data_loader/order/sample_order.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "core/error.h"
#include "data_loader/order/order_digest.h"
#include "tests/data_loader/order_cases.h"

namespace muster {
namespace {

/// The chained digest of all steps of epochs 0 and 1.
std::string golden(const RowIndex& index, const OrderSettings& settings) {
  const SampleOrder sample_order(index.rows_per_block(0), settings);
  Digest running;
  for (std::uint64_t epoch = 0; epoch < 2; ++epoch) {
    StepRows rows(index, 0, sample_order.epoch(epoch));
    for (std::uint64_t step = 0; step < rows.order().steps(); ++step)
      running = chain(running, rows.digest(step));
  }
  return running.hex();
}

/// Partitions of 1000, 0, 37 and 64 rows in blocks of 64, 8, 10 and 1 rows. Split 0: rows r of partition p
/// with (7 p + r) mod 5 >= `left_out`.
RowIndex golden_index(std::uint64_t left_out) {
  const std::vector<Partition> partitions{
      {"a", "a", 1000, 64, {}}, {"b", "b", 0, 8, {}}, {"c", "c", 37, 10, {}}, {"d", "d", 64, 1, {}}};
  const auto blocks = Manifest{partitions, {}, {}}.blocks();
  RowIndex index({"train"}, blocks);
  for (const Block& block : blocks) {
    std::vector<std::uint8_t> split;
    for (std::uint64_t row = block.first_row; row < block.first_row + block.rows; ++row) {
      split.push_back((7 * block.partition + row) % 5 >= left_out ? 0 : RowIndex::kNone);
    }
    index.append_block(split);
  }
  return index;
}

// These digests are in docs/order.md. If one changes, every run ever started resumes with other batches:
// don't.
TEST(SampleOrder, NeverChanges) {
  EXPECT_EQ(golden(golden_index(0), {.seed = 1, .batch_size = 32, .lanes = 8, .window = 2}),
            "412bf01c28c4fde6f21b6a9ced93ba62");
  EXPECT_EQ(golden(golden_index(0), {.seed = 2, .batch_size = 64, .lanes = 64, .window = 1}),
            "0e1aa4161a7dfc84305c7ae727d47cc8");
  EXPECT_EQ(golden(golden_index(2), {.seed = 3, .batch_size = 21, .lanes = 3, .window = 5}),
            "02968bbd5fafcf07679db3f0b7a89b87");
  EXPECT_EQ(
      golden(golden_index(4), {.seed = 0xfedcba9876543210, .batch_size = 7, .lanes = 1, .window = 1000}),
      "5239093faf7de5bf7746e2dd33b26084");
  EXPECT_EQ(golden(golden_index(5), {.seed = 1, .batch_size = 8, .lanes = 8, .window = 1}),
            "00000000000000000000000000000000");
}

/// Variance of the number of rows of a class in a batch, over that of a true shuffle, on data sorted by 10
/// classes.
double measured_variance_ratio(const OrderSettings& settings, std::uint32_t blocks,
                               std::uint32_t block_rows) {
  constexpr std::uint64_t kClasses = 10;
  constexpr std::uint64_t kEpochs = 4;
  const std::uint64_t rows = std::uint64_t{blocks} * block_rows;
  const SampleOrder sample_order(std::vector<std::uint32_t>(blocks, block_rows), settings);
  const double mean = static_cast<double>(settings.batch_size) / kClasses;
  double squares = 0;
  double batches = 0;
  for (std::uint64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const EpochOrder order = sample_order.epoch(epoch);
    const std::uint64_t per_step = settings.batch_size / settings.lanes;
    std::vector<std::array<double, kClasses>> counts(order.steps());
    for (std::uint32_t lane = 0; lane < settings.lanes; ++lane) {
      std::uint64_t position = 0;
      for (std::uint32_t window = 0; window < order.windows(lane).size(); ++window) {
        for (const Slot& slot : order.shuffled(lane, window)) {
          const std::uint64_t row = std::uint64_t{slot.block} * block_rows + slot.row;
          ++counts[position++ / per_step][row * kClasses / rows];
        }
      }
    }
    counts.pop_back();  // it may be a short one
    for (const auto& batch : counts) {
      for (const double count : batch) squares += (count - mean) * (count - mean);
    }
    batches += static_cast<double>(counts.size());
  }
  const double true_shuffle = mean * (1 - 1.0 / kClasses);
  return squares / (batches * kClasses) / true_shuffle;
}

TEST(SampleOrder, ShuffleQualityIsAsStated) {
  for (const std::uint32_t window : {1U, 4U, 16U, 64U}) {
    const OrderSettings settings{.seed = 11, .batch_size = 256, .lanes = 16, .window = window};
    const double stated = shuffle_variance_ratio(256, std::uint64_t{16} * window);
    const double measured = measured_variance_ratio(settings, 8192, 32);
    std::cout << "  " << 16 * window << " live blocks: " << measured << " measured, " << stated
              << " stated\n";
    EXPECT_GT(measured, 0.75 * stated);
    EXPECT_LT(measured, 1.25 * stated);
  }
}

TEST(SampleOrder, DefaultLanesIsTheLargestDivisorUpTo64) {
  EXPECT_EQ(default_lanes(1), 1U);
  EXPECT_EQ(default_lanes(64), 64U);
  EXPECT_EQ(default_lanes(67), 1U);
  EXPECT_EQ(default_lanes(100), 50U);
  EXPECT_EQ(default_lanes(256), 64U);
  EXPECT_EQ(default_lanes(96), 48U);
}

std::string refusal(const OrderSettings& settings, std::uint32_t world) {
  try {
    check_order(settings, world);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    return error.message();
  }
  return "";
}

TEST(SampleOrder, RefusalsSayWhatWouldDo) {
  EXPECT_EQ(refusal({1, 256, 64, 1}, 64), "");
  EXPECT_EQ(refusal({1, 0, 1, 1}, 1), "batch.size must be at least 1");
  EXPECT_EQ(refusal({1, 100, 0, 1}, 1), "batch.lanes must be at least 1; 50 would do");
  EXPECT_EQ(refusal({1, 8, 4, 0}, 1), "batch.window must be at least 1");
  EXPECT_EQ(refusal({1, 100, 48, 1}, 1),
            "batch.lanes (48) does not divide batch.size (100): set batch.lanes to 25 or 50");
  EXPECT_EQ(refusal({1, 8, 9, 1}, 1),
            "batch.lanes (9) is more than batch.size (8): set batch.lanes to 8 or less");
  EXPECT_EQ(refusal({1, 60, 4, 1}, 7),
            "7 ranks, but batch.lanes is 4: start at most 4 ranks, or a new run with batch.lanes 10");
  EXPECT_EQ(
      refusal({1, 8, 4, 1}, 9),
      "9 ranks, but batch.lanes is 4: start at most 4 ranks (batch.size 8 allows no more than 8 lanes)");
  EXPECT_THROW(SampleOrder({1}, {1, 8, 3, 1}), Error);
  EXPECT_THROW(default_lanes(0), Error);
}

}  // namespace
}  // namespace muster
