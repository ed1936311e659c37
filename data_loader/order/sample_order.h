#pragma once
// The order of samples: a pure function of (rows per block, seed, lanes, batch size, window, epoch). No MPI,
// no I/O. docs/order.md defines it to the last bit.

#include <cstdint>
#include <span>
#include <vector>

namespace muster {

struct OrderSettings {
  std::uint64_t seed = 0;
  std::uint32_t batch_size = 0;
  std::uint32_t lanes = 0;   ///< divides batch_size
  std::uint32_t window = 0;  ///< blocks of a lane that are shuffled together, >= 1
};

/// Where a run stands: the next step to do. Step counts within the epoch, from 0.
struct Cursor {
  std::uint64_t epoch = 0;
  std::uint64_t step = 0;
  bool operator==(const Cursor&) const = default;
};

/// The half-open range of lanes that a rank owns.
struct LaneRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  std::uint32_t count() const { return last - first; }
};

/// Rank r of `world` owns lanes [floor(r L / world), floor((r + 1) L / world)).
LaneRange lanes_of_rank(std::uint32_t rank, std::uint32_t world, std::uint32_t lanes);
/// The largest divisor of `batch_size` that is at most 64.
std::uint32_t default_lanes(std::uint32_t batch_size);
/// Checks that lanes divide batch_size and that there is a lane per rank; Error{kConfig} says what would do.
void check_order(const OrderSettings& settings, std::uint32_t world);

/// The k-th row (of the split) of a block.
struct Slot {
  std::uint32_t block = 0;
  std::uint32_t row = 0;
  bool operator==(const Slot&) const = default;
};

/// Rows [first, first + count) (of the split) of a block: a lane's share of that block.
struct Piece {
  std::uint32_t block = 0;
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

/// Consecutive pieces of a lane that are shuffled together. Pieces are counted within the lane.
struct Window {
  std::uint32_t first_piece = 0;
  std::uint32_t last_piece = 0;      ///< half-open
  std::uint64_t first_position = 0;  ///< of its rows in the lane
  std::uint64_t rows = 0;
};

/// One epoch's order. Immutable, thread-safe; O(blocks) memory.
class EpochOrder {
 public:
  const OrderSettings& settings() const { return settings_; }
  std::uint64_t epoch() const { return epoch_; }
  std::uint64_t rows() const { return lane_start_.back(); }
  /// ceil(longest lane / rows per lane and step); 0 for an empty split.
  std::uint64_t steps() const;
  std::uint64_t lane_rows(std::uint32_t lane) const { return lane_start_[lane + 1] - lane_start_[lane]; }

  /// Rows that `lane` gives to `step`, and of all lanes in the range.
  std::uint32_t rows_in_step(std::uint64_t step, std::uint32_t lane) const;
  std::uint32_t rows_in_step(std::uint64_t step, LaneRange lanes) const;
  std::uint32_t rows_in_step(std::uint64_t step) const { return rows_in_step(step, {0, settings_.lanes}); }
  /// Position in the global batch of the lane's first row of the step (steps are packed in lane order).
  std::uint32_t first_position(std::uint64_t step, std::uint32_t lane) const;

  std::span<const Piece> pieces(std::uint32_t lane) const;
  std::span<const Window> windows(std::uint32_t lane) const;
  /// The window's shuffle: entry q is the number of the row that the lane gives q-th, where the rows of the
  /// window's pieces, laid end to end, are numbered from 0. Error{kConfig} for windows of 2^32 rows and more.
  std::vector<std::uint32_t> permutation(std::uint32_t lane, std::uint32_t window) const;
  /// The shuffled rows of a window, in the order in which the lane gives them.
  std::vector<Slot> shuffled(std::uint32_t lane, std::uint32_t window) const;
  /// The rows that a range of lanes gives to a step, in position order (slow: for `muster order` and tests).
  std::vector<Slot> batch(std::uint64_t step, LaneRange lanes) const;

 private:
  friend class SampleOrder;
  EpochOrder() = default;
  void append_windows(std::uint32_t lane);
  OrderSettings settings_;
  std::uint64_t epoch_ = 0;
  std::vector<std::uint64_t> lane_start_;  ///< lanes + 1 entries, in rows of the epoch
  std::vector<Piece> pieces_;              ///< of all lanes
  std::vector<std::uint32_t> lane_first_piece_;
  std::vector<Window> windows_;
  std::vector<std::uint32_t> lane_first_window_;
};

/// The order of all epochs of a split.
class SampleOrder {
 public:
  /// `rows_per_block`: rows of the split in each block; zeros are fine.
  SampleOrder(std::vector<std::uint32_t> rows_per_block, OrderSettings settings);

  const OrderSettings& settings() const { return settings_; }
  std::uint64_t rows() const { return rows_; }
  /// ceil(rows / batch size).
  std::uint64_t steps_per_epoch() const;
  /// No window of any epoch has more rows: the least of the longest lane and the `window` fullest blocks.
  std::uint64_t max_window_rows() const;
  /// No epoch has more windows, all lanes together.
  std::uint64_t max_windows() const;
  /// Most bytes of one epoch's order, the memory for making it included.
  std::uint64_t epoch_bytes() const;
  EpochOrder epoch(std::uint64_t number) const;

 private:
  std::uint64_t max_pieces() const;

  std::vector<std::uint32_t> rows_per_block_;
  OrderSettings settings_;
  std::uint64_t rows_ = 0;
  std::uint64_t filled_blocks_ = 0;  ///< blocks with rows
};

/// Variance of class counts in a batch on class-sorted data, against a true shuffle's: about
/// 1 + batch_size / live blocks (measured; see docs/order.md).
double shuffle_variance_ratio(std::uint64_t batch_size, std::uint64_t live_blocks);

}  // namespace muster
