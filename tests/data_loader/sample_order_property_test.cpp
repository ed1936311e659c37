// The promises of docs/order.md in random cases, against a second implementation that writes out every row.
#include "data_loader/order/sample_order.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <utility>

#include "core/error.h"
#include "data_loader/order/order_digest.h"
#include "tests/data_loader/order_cases.h"

namespace muster {
namespace {

using testing::Edges;
using testing::OrderCase;

using Rows = std::vector<std::pair<std::uint32_t, std::uint32_t>>;  // (block, row of the split in the block)

Rows plain(std::span<const Slot> slots) {
  Rows rows;
  for (const Slot& slot : slots) rows.emplace_back(slot.block, slot.row);
  return rows;
}

template <typename T>
void fisher_yates(std::vector<T>& items, std::uint64_t key) {
  RandomStream random(key);
  for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random.below(i)]);
}

/// An epoch's global batches, made as docs/order.md says by writing out every row, without any of the code
/// under test.
std::vector<Rows> written_out(const std::vector<std::uint32_t>& counts, const OrderSettings& settings,
                              std::uint64_t epoch) {
  std::vector<std::uint32_t> blocks;
  for (std::uint32_t block = 0; block < counts.size(); ++block) {
    if (counts[block] > 0) blocks.push_back(block);
  }
  fisher_yates(blocks, random_key(settings.seed, Purpose::kBlockOrder, {epoch}));
  Rows all;
  for (const std::uint32_t block : blocks) {
    for (std::uint32_t row = 0; row < counts[block]; ++row) all.emplace_back(block, row);
  }
  const std::size_t per_step = settings.batch_size / settings.lanes;
  std::vector<Rows> batches((all.size() + settings.batch_size - 1) / settings.batch_size);
  for (std::size_t lane = 0; lane < settings.lanes; ++lane) {
    const std::size_t from = lane * all.size() / settings.lanes;
    const std::size_t until = (lane + 1) * all.size() / settings.lanes;
    std::vector<std::size_t> piece_starts;
    for (std::size_t i = from; i < until; ++i) {
      if (i == from || all[i].first != all[i - 1].first) piece_starts.push_back(i);
    }
    const std::size_t pieces = piece_starts.size();
    const std::size_t windows = (pieces + settings.window - 1) / settings.window;
    piece_starts.push_back(until);
    Rows lane_rows;
    for (std::size_t window = 0; window < windows; ++window) {
      Rows rows(all.begin() + static_cast<std::ptrdiff_t>(piece_starts[window * pieces / windows]),
                all.begin() + static_cast<std::ptrdiff_t>(piece_starts[(window + 1) * pieces / windows]));
      fisher_yates(rows, random_key(settings.seed, Purpose::kWindowOrder, {epoch, lane, window}));
      lane_rows.insert(lane_rows.end(), rows.begin(), rows.end());
    }
    for (std::size_t i = 0; i < lane_rows.size(); ++i) batches[i / per_step].push_back(lane_rows[i]);
  }
  return batches;
}

void check_lanes(const EpochOrder& order, const OrderSettings& settings) {
  std::uint64_t shortest = order.lane_rows(0);
  std::uint64_t longest = shortest;
  std::uint64_t rows = 0;
  for (std::uint32_t lane = 0; lane < settings.lanes; ++lane) {
    shortest = std::min(shortest, order.lane_rows(lane));
    longest = std::max(longest, order.lane_rows(lane));
    rows += order.lane_rows(lane);
  }
  EXPECT_LE(longest - shortest, 1U);
  EXPECT_EQ(rows, order.rows());
}

void check_windows(const SampleOrder& sample_order, const EpochOrder& order, const OrderSettings& settings) {
  std::uint64_t cuts_inside = 0;
  std::uint64_t windows_in_all = 0;
  for (std::uint32_t lane = 0; lane < settings.lanes; ++lane) {
    const auto pieces = order.pieces(lane);
    std::uint32_t next_piece = 0;
    std::uint64_t next_position = 0;
    std::uint32_t fewest = ~0U;
    std::uint32_t most = 0;
    for (const Window& window : order.windows(lane)) {
      EXPECT_EQ(window.first_piece, next_piece);
      EXPECT_EQ(window.first_position, next_position);
      const std::uint32_t count = window.last_piece - window.first_piece;
      fewest = std::min(fewest, count);
      most = std::max(most, count);
      next_piece = window.last_piece;
      next_position += window.rows;
      EXPECT_LE(window.rows, sample_order.max_window_rows());
    }
    EXPECT_EQ(next_piece, pieces.size());
    EXPECT_EQ(next_position, order.lane_rows(lane));
    EXPECT_LE(most, settings.window);
    if (most > 0) {
      EXPECT_GT(fewest, 0U);
      EXPECT_LE(most - fewest, 1U);
    }
    windows_in_all += order.windows(lane).size();
    for (const Piece& piece : pieces) cuts_inside += piece.first > 0 ? 1 : 0;
  }
  EXPECT_LE(cuts_inside, settings.lanes - 1);  // each is one decode more
  EXPECT_LE(windows_in_all, sample_order.max_windows());
}

void check_positions(const EpochOrder& order, const OrderSettings& settings, std::uint64_t step) {
  const bool last = step + 1 == order.steps();
  const std::uint32_t rows = order.rows_in_step(step);
  EXPECT_GE(rows, 1U);
  EXPECT_LE(rows, settings.batch_size);
  if (!last) {
    EXPECT_EQ(rows, settings.batch_size);
  }
  std::vector<int> taken(rows);
  for (std::uint32_t lane = 0; lane < settings.lanes; ++lane) {
    const std::uint32_t first = order.first_position(step, lane);
    if (!last) {
      EXPECT_EQ(first, lane * (settings.batch_size / settings.lanes));
    }
    for (std::uint32_t i = 0; i < order.rows_in_step(step, lane); ++i) ++taken.at(first + i);
  }
  EXPECT_EQ(std::ranges::count(taken, 1), rows) << "positions are no bijection";
}

/// What `world` ranks give to a step, laid end to end.
Rows of_all_ranks(const EpochOrder& order, std::uint64_t step, std::uint32_t world, std::uint32_t lanes) {
  Rows rows;
  for (std::uint32_t rank = 0; rank < world; ++rank) {
    const auto part = plain(order.batch(step, lanes_of_rank(rank, world, lanes)));
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

void note_edges(Edges& edges, const OrderCase& c, const EpochOrder& order) {
  const auto counts = c.counts();
  const auto& settings = c.settings;
  const std::uint64_t rows = order.rows();
  bool wide = false;
  bool uneven = false;
  bool cut = false;
  std::map<std::uint32_t, int> lanes_of_block;
  for (std::uint32_t lane = 0; lane < settings.lanes; ++lane) {
    const auto windows = order.windows(lane);
    wide |= !windows.empty() && settings.window > order.pieces(lane).size();
    for (const Window& window : windows) {
      uneven |= window.last_piece - window.first_piece != windows[0].last_piece - windows[0].first_piece;
    }
    for (const Piece& piece : order.pieces(lane)) {
      cut |= piece.first > 0;
      ++lanes_of_block[piece.block];
    }
  }
  bool idle_rank = false;
  for (std::uint32_t rank = 0; rank < c.world && rows > 0; ++rank) {
    idle_rank |= order.rows_in_step(order.steps() - 1, lanes_of_rank(rank, c.world, settings.lanes)) == 0;
  }
  const auto all = c.index.rows(1) + rows;
  edges.hit("no blocks at all", counts.empty());
  edges.hit("blocks without rows of the split", rows > 0 && std::ranges::count(counts, 0U) > 0);
  edges.hit("blocks of different sizes", std::set(counts.begin(), counts.end()).size() > 2);
  edges.hit("blocks of one row", std::ranges::count(counts, 1U) > 0);
  edges.hit("an empty split", rows == 0 && all > 0);
  edges.hit("a split of one row", rows == 1);
  edges.hit("all rows in the split", rows > 0 && all == rows);
  edges.hit("fewer rows than lanes (empty lanes)", rows > 0 && rows < settings.lanes);
  edges.hit("fewer rows than a batch", rows > 0 && rows < settings.batch_size);
  edges.hit("rows a multiple of the batch", rows > 0 && rows % settings.batch_size == 0);
  edges.hit("lanes of different lengths", rows > settings.lanes && rows % settings.lanes != 0);
  edges.hit("a last step of one row", rows > 1 && rows % settings.batch_size == 1);
  edges.hit("a rank without rows in the last step", idle_rank && rows > settings.batch_size);
  edges.hit("one lane", settings.lanes == 1);
  edges.hit("64 lanes", settings.lanes == 64);
  edges.hit("one row of each lane in a step", settings.batch_size == settings.lanes);
  edges.hit("16 ranks", c.world == 16);
  edges.hit("as many ranks as lanes", c.world == settings.lanes);
  edges.hit("ranks that do not divide the lanes", settings.lanes % c.world != 0);
  edges.hit("a window wider than its lane", wide);
  edges.hit("windows of different numbers of blocks", uneven);
  edges.hit("a lane's cut inside a block", cut);
  edges.hit("a block in three lanes or more",
            std::ranges::any_of(lanes_of_block, [](const auto& entry) { return entry.second > 2; }));
}

TEST(SampleOrder, HoldsItsPromisesInRandomCases) {
  RandomStream random(20240601);
  Edges edges;
  for (int i = 0; i < testing::case_count() && !HasFailure(); ++i) {
    const OrderCase c = testing::random_case(random);
    SCOPED_TRACE("case " + std::to_string(i));
    const auto& settings = c.settings;
    const auto counts = c.counts();
    const SampleOrder sample_order(counts, settings);
    const EpochOrder order = sample_order.epoch(random.below(3) == 0 ? random() : random.below(4));
    const auto expected = written_out(counts, settings, order.epoch());
    ASSERT_EQ(order.rows(), c.index.rows(0));
    ASSERT_EQ(order.steps(), expected.size());
    ASSERT_EQ(sample_order.steps_per_epoch(), expected.size());
    check_lanes(order, settings);
    check_windows(sample_order, order, settings);

    const auto other_world = static_cast<std::uint32_t>(1 + random.below(std::min(16U, settings.lanes)));
    Rows epoch;
    for (std::uint64_t step = 0; step < order.steps(); ++step) {
      check_positions(order, settings, step);
      const Rows batch = plain(order.batch(step, {0, settings.lanes}));
      ASSERT_EQ(batch, expected[step]);
      ASSERT_EQ(batch, of_all_ranks(order, step, c.world, settings.lanes));
      ASSERT_EQ(batch, of_all_ranks(order, step, other_world, settings.lanes));
      epoch.insert(epoch.end(), batch.begin(), batch.end());
    }
    EXPECT_EQ(order.rows_in_step(order.steps()), 0U);
    EXPECT_EQ(order.rows_in_step(~std::uint64_t{0}), 0U);
    EXPECT_TRUE(order.batch(order.steps(), {0, settings.lanes}).empty());
    std::ranges::sort(epoch);
    Rows every;
    for (std::uint32_t block = 0; block < counts.size(); ++block) {
      for (std::uint32_t row = 0; row < counts[block]; ++row) every.emplace_back(block, row);
    }
    ASSERT_EQ(epoch, every) << "not every sample once";
    note_edges(edges, c, order);
  }
  edges.expect_all_hit();
}

TEST(SampleOrder, StepRowsNamesTheRowsOfTheOrderInAnySequenceOfSteps) {
  RandomStream random(7);
  int backwards = 0;
  for (int i = 0; i < testing::case_count() / 10; ++i) {
    const OrderCase c = testing::random_case(random);
    const SampleOrder sample_order(c.counts(), c.settings);
    StepRows step_rows(c.index, 0, sample_order.epoch(1));
    const EpochOrder& order = step_rows.order();
    std::uint64_t before = 0;
    for (int ask = 0; ask < 8 && order.steps() > 0; ++ask) {
      const std::uint64_t step =
          ask < 3 ? std::min<std::uint64_t>(static_cast<std::uint64_t>(ask), order.steps() - 1)
                  : random.below(order.steps());
      backwards += step < before ? 1 : 0;
      before = step;
      Digest digest;
      for (std::uint32_t rank = 0; rank < c.world; ++rank) {
        const LaneRange lanes = lanes_of_rank(rank, c.world, c.settings.lanes);
        std::vector<RowId> expected;
        for (const Slot& slot : order.batch(step, lanes)) {
          const Block& block = c.index.blocks()[slot.block];
          expected.push_back({block.partition, block.first_row + c.index.rows_of(0, slot.block)[slot.row]});
        }
        const auto rows = step_rows.rows(step, lanes);
        ASSERT_EQ(rows, expected) << "case " << i << ", step " << step;
        digest += digest_of(rows, order.first_position(step, lanes.first));
      }
      ASSERT_EQ(digest, step_rows.digest(step));
      ASSERT_EQ(digest, digest_of(step_rows.rows(step, {0, c.settings.lanes})));
    }
  }
  EXPECT_GT(backwards, 0);
}

TEST(SampleOrder, BlocksWithoutRowsDoNotMatter) {
  const OrderSettings settings{.seed = 5, .batch_size = 6, .lanes = 3, .window = 2};
  const std::vector<std::uint32_t> dense{4, 9, 1, 7, 5};
  const std::vector<std::uint32_t> sparse{0, 4, 0, 0, 9, 1, 7, 0, 5, 0};
  const std::vector<std::uint32_t> number{1, 4, 5, 6, 8};
  const EpochOrder a = SampleOrder(dense, settings).epoch(3);
  const EpochOrder b = SampleOrder(sparse, settings).epoch(3);
  ASSERT_EQ(a.steps(), b.steps());
  for (std::uint64_t step = 0; step < a.steps(); ++step) {
    auto rows = a.batch(step, {0, 3});
    for (Slot& slot : rows) slot.block = number[slot.block];
    EXPECT_EQ(rows, b.batch(step, {0, 3}));
  }
}

TEST(SampleOrder, SeedAndEpochAndLaneAndWindowChangeTheOrder) {
  const std::vector<std::uint32_t> counts(32, 20);
  const auto batch = [&](std::uint64_t seed, std::uint64_t epoch) {
    return plain(SampleOrder(counts, {seed, 32, 4, 2}).epoch(epoch).batch(0, {0, 4}));
  };
  EXPECT_EQ(batch(1, 0), batch(1, 0));
  EXPECT_NE(batch(1, 0), batch(2, 0));
  EXPECT_NE(batch(1, 0), batch(1, 1));
  const EpochOrder order = SampleOrder(counts, {1, 32, 4, 2}).epoch(0);
  EXPECT_NE(order.permutation(0, 0), order.permutation(1, 0));
  EXPECT_NE(order.permutation(0, 0), order.permutation(0, 1));
}

TEST(SampleOrder, CutsLanesExactlyWhereProductsLeave64Bits) {
  // 2^44 rows in 2^21 lanes and more: lane x rows does not fit in 64 bits.
  const std::uint64_t blocks = std::uint64_t{1} << 12;
  const std::vector<std::uint32_t> counts(blocks, ~0U);
  const std::uint32_t lanes = 3 * (1U << 20) + 1;
  const SampleOrder sample_order(counts, {.seed = 1, .batch_size = lanes, .lanes = lanes, .window = 1});
  const EpochOrder order = sample_order.epoch(0);
  check_lanes(order, order.settings());
  EXPECT_EQ(order.rows(), blocks * 0xffffffffU);
  EXPECT_EQ(lanes_of_rank(0xfffffffe, 0xffffffff, 0xffffffff).last, 0xffffffffU);
}

}  // namespace
}  // namespace muster
