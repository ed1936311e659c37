#include "data_loader/order/sample_order.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "core/random.h"

namespace muster {
namespace {

std::uint64_t ceil_divide(std::uint64_t a, std::uint64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

/// floor(part × total / parts) for part <= parts < 2^32: no product leaves 64 bits.
std::uint64_t cut(std::uint64_t part, std::uint64_t total, std::uint64_t parts) {
  return part * (total / parts) + part * (total % parts) / parts;
}

std::uint32_t largest_divisor_up_to(std::uint32_t number, std::uint32_t bound) {
  std::uint32_t divisor = std::min(number, bound);
  while (number % divisor != 0) --divisor;
  return divisor;
}

std::uint32_t smallest_divisor_from(std::uint32_t number, std::uint32_t bound) {
  std::uint32_t divisor = bound;
  while (number % divisor != 0) ++divisor;
  return divisor;
}

}  // namespace

LaneRange lanes_of_rank(std::uint32_t rank, std::uint32_t world, std::uint32_t lanes) {
  return {static_cast<std::uint32_t>(cut(rank, lanes, world)),
          static_cast<std::uint32_t>(cut(std::uint64_t{rank} + 1, lanes, world))};
}

std::uint32_t default_lanes(std::uint32_t batch_size) {
  if (batch_size == 0) fail(ErrorCode::kConfig, "batch.size must be at least 1");
  return largest_divisor_up_to(batch_size, 64);
}

void check_order(const OrderSettings& settings, std::uint32_t world) {
  const auto [seed, size, lanes, window] = settings;
  if (size == 0) fail(ErrorCode::kConfig, "batch.size must be at least 1");
  if (lanes == 0)
    fail(ErrorCode::kConfig, "batch.lanes must be at least 1; {} would do", default_lanes(size));
  if (window == 0) fail(ErrorCode::kConfig, "batch.window must be at least 1");
  if (lanes > size) {
    fail(ErrorCode::kConfig, "batch.lanes ({}) is more than batch.size ({}): set batch.lanes to {} or less",
         lanes, size, size);
  }
  if (size % lanes != 0) {
    fail(ErrorCode::kConfig, "batch.lanes ({}) does not divide batch.size ({}): set batch.lanes to {} or {}",
         lanes, size, largest_divisor_up_to(size, lanes), smallest_divisor_from(size, lanes));
  }
  ensure(world > 0, "there is no rank");
  if (world <= lanes) return;
  if (world > size) {
    fail(ErrorCode::kConfig,
         "{} ranks, but batch.lanes is {}: start at most {} ranks (batch.size {} allows no more than {} "
         "lanes)",
         world, lanes, lanes, size, size);
  }
  fail(ErrorCode::kConfig,
       "{} ranks, but batch.lanes is {}: start at most {} ranks, or a new run with batch.lanes {}", world,
       lanes, lanes, smallest_divisor_from(size, world));
}

std::uint64_t EpochOrder::steps() const { return ceil_divide(rows(), settings_.batch_size); }

std::uint32_t EpochOrder::rows_in_step(std::uint64_t step, std::uint32_t lane) const {
  const std::uint64_t per_step = settings_.batch_size / settings_.lanes;
  const std::uint64_t rows = lane_rows(lane);
  if (step > rows / per_step) return 0;  // also keeps the product below within 64 bits
  return static_cast<std::uint32_t>(std::min(per_step, rows - step * per_step));
}

std::uint32_t EpochOrder::rows_in_step(std::uint64_t step, LaneRange lanes) const {
  std::uint32_t rows = 0;
  for (std::uint32_t lane = lanes.first; lane < lanes.last; ++lane) rows += rows_in_step(step, lane);
  return rows;
}

std::uint32_t EpochOrder::first_position(std::uint64_t step, std::uint32_t lane) const {
  return rows_in_step(step, {0, lane});
}

std::span<const Piece> EpochOrder::pieces(std::uint32_t lane) const {
  return std::span(pieces_).subspan(lane_first_piece_[lane],
                                    lane_first_piece_[lane + 1] - lane_first_piece_[lane]);
}

std::span<const Window> EpochOrder::windows(std::uint32_t lane) const {
  return std::span(windows_).subspan(lane_first_window_[lane],
                                     lane_first_window_[lane + 1] - lane_first_window_[lane]);
}

std::vector<std::uint32_t> EpochOrder::permutation(std::uint32_t lane, std::uint32_t window) const {
  const std::uint64_t rows = windows(lane)[window].rows;
  if (rows > std::numeric_limits<std::uint32_t>::max()) {
    fail(ErrorCode::kConfig,
         "a window of {} rows is too large to shuffle: lower batch.window ({}) or raise batch.lanes", rows,
         settings_.window);
  }
  std::vector<std::uint32_t> order(rows);
  std::iota(order.begin(), order.end(), 0U);
  shuffle(std::span(order), random_key(settings_.seed, Purpose::kWindowOrder, {epoch_, lane, window}));
  return order;
}

std::vector<Slot> EpochOrder::shuffled(std::uint32_t lane, std::uint32_t window) const {
  const Window& bounds = windows(lane)[window];
  std::vector<Slot> laid_out;
  laid_out.reserve(bounds.rows);
  for (std::uint32_t i = bounds.first_piece; i < bounds.last_piece; ++i) {
    const Piece& piece = pieces(lane)[i];
    for (std::uint32_t row = 0; row < piece.count; ++row)
      laid_out.push_back({piece.block, piece.first + row});
  }
  std::vector<Slot> slots;
  slots.reserve(bounds.rows);
  for (const std::uint32_t number : permutation(lane, window)) slots.push_back(laid_out[number]);
  return slots;
}

std::vector<Slot> EpochOrder::batch(std::uint64_t step, LaneRange lanes) const {
  std::vector<Slot> slots;
  for (std::uint32_t lane = lanes.first; lane < lanes.last; ++lane) {
    const std::uint32_t count = rows_in_step(step, lane);
    if (count == 0) continue;
    const std::uint64_t first = step * (settings_.batch_size / settings_.lanes);
    const std::uint64_t last = first + count;
    const auto all = windows(lane);
    // The last window that starts at or before `first`, and those after it.
    auto number = static_cast<std::uint32_t>(
        std::ranges::upper_bound(all, first, {}, &Window::first_position) - all.begin() - 1);
    for (; number < all.size() && all[number].first_position < last; ++number) {
      const auto rows = shuffled(lane, number);
      const std::uint64_t start = all[number].first_position;
      const std::uint64_t from = std::max(first, start) - start;
      const std::uint64_t until = std::min(last - start, all[number].rows);
      for (std::uint64_t i = from; i < until; ++i) slots.push_back(rows[i]);
    }
  }
  return slots;
}

void EpochOrder::append_windows(std::uint32_t lane) {
  const auto shares = pieces(lane);
  const std::uint64_t count = ceil_divide(shares.size(), settings_.window);
  std::uint64_t position = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    Window window{static_cast<std::uint32_t>(cut(i, shares.size(), count)),
                  static_cast<std::uint32_t>(cut(i + 1, shares.size(), count)), position, 0};
    for (std::uint32_t piece = window.first_piece; piece < window.last_piece; ++piece) {
      window.rows += shares[piece].count;
    }
    position += window.rows;
    windows_.push_back(window);
  }
}

SampleOrder::SampleOrder(std::vector<std::uint32_t> rows_per_block, OrderSettings settings)
    : rows_per_block_(std::move(rows_per_block)), settings_(settings) {
  check_order(settings_, 1);
  rows_ = std::accumulate(rows_per_block_.begin(), rows_per_block_.end(), std::uint64_t{0});
  filled_blocks_ =
      rows_per_block_.size() - static_cast<std::uint64_t>(std::ranges::count(rows_per_block_, 0U));
}

std::uint64_t SampleOrder::steps_per_epoch() const { return ceil_divide(rows_, settings_.batch_size); }

std::uint64_t SampleOrder::max_window_rows() const {
  auto counts = rows_per_block_;
  const auto most = std::min<std::size_t>(settings_.window, counts.size());
  std::ranges::nth_element(counts, counts.begin() + static_cast<std::ptrdiff_t>(most), std::greater<>());
  const std::uint64_t fullest =
      std::accumulate(counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(most), std::uint64_t{0});
  return std::min(fullest, ceil_divide(rows_, settings_.lanes));
}

std::uint64_t SampleOrder::max_pieces() const { return filled_blocks_ + settings_.lanes - 1; }

std::uint64_t SampleOrder::max_windows() const {
  return std::min(max_pieces(), max_pieces() / settings_.window + settings_.lanes);
}

std::uint64_t SampleOrder::epoch_bytes() const {
  return filled_blocks_ * sizeof(std::uint32_t) + max_pieces() * sizeof(Piece) +
         max_windows() * sizeof(Window) +
         (std::uint64_t{settings_.lanes} + 1) * (sizeof(std::uint64_t) + 2 * sizeof(std::uint32_t));
}

EpochOrder SampleOrder::epoch(std::uint64_t number) const {
  std::vector<std::uint32_t> blocks;
  blocks.reserve(filled_blocks_);
  for (std::uint32_t block = 0; block < rows_per_block_.size(); ++block) {
    if (rows_per_block_[block] > 0) blocks.push_back(block);
  }
  shuffle(std::span(blocks), random_key(settings_.seed, Purpose::kBlockOrder, {number}));

  EpochOrder order;
  order.settings_ = settings_;
  order.epoch_ = number;
  const std::uint32_t lanes = settings_.lanes;
  order.lane_start_.reserve(std::size_t{lanes} + 1);
  order.lane_first_piece_.reserve(std::size_t{lanes} + 1);
  order.lane_first_window_.reserve(std::size_t{lanes} + 1);
  order.pieces_.reserve(max_pieces());
  order.windows_.reserve(max_windows());
  order.lane_start_.push_back(0);
  order.lane_first_piece_.push_back(0);
  order.lane_first_window_.push_back(0);

  std::size_t next = 0;    // block that the next piece comes from
  std::uint32_t used = 0;  // its rows that earlier lanes have
  for (std::uint32_t lane = 0; lane < lanes; ++lane) {
    std::uint64_t left = cut(std::uint64_t{lane} + 1, rows_, lanes) - order.lane_start_.back();
    order.lane_start_.push_back(order.lane_start_.back() + left);
    while (left > 0) {
      const std::uint32_t rows = rows_per_block_[blocks[next]];
      const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(rows - used, left));
      order.pieces_.push_back({blocks[next], used, count});
      left -= count;
      used += count;
      if (used == rows) ++next, used = 0;
    }
    order.lane_first_piece_.push_back(static_cast<std::uint32_t>(order.pieces_.size()));
    order.append_windows(lane);
    order.lane_first_window_.push_back(static_cast<std::uint32_t>(order.windows_.size()));
  }
  return order;
}

double shuffle_variance_ratio(std::uint64_t batch_size, std::uint64_t live_blocks) {
  ensure(live_blocks > 0, "no block is live");
  return 1 + static_cast<double>(batch_size) / static_cast<double>(live_blocks);
}

}  // namespace muster
