#include "data_loader/order/batch_plan.h"

#include <algorithm>
#include <compare>
#include <limits>
#include <span>
#include <utility>

#include "core/error.h"

namespace muster {
namespace {

std::uint64_t ceil_divide(std::uint64_t a, std::uint64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

/// Most batches that `rows` consecutive rows can touch, `per_batch` to a batch, wherever they start.
std::uint64_t most_batches(std::uint64_t rows, std::uint64_t per_batch) {
  return rows == 0 ? 0 : ceil_divide(rows - 1, per_batch) + 1;
}

// Why a ring of min_ring batches never deadlocks. Tasks are started in order, and a task may be filled when
// the batch `last_batch` has a slot: last_batch < consumed + ring, where `consumed` batches were given back
// and batch `consumed` is the one waited for. Suppose task T waits for a slot for ever.
//
// Tasks come window by window, ordered by the first batch that the window has rows in (0 where that lies
// before the cursor). So every task from T on has rows only in batches from first(T) on.
//
// All tasks before T were started and end. So all batches before first(T) are full; those in which this rank
// has no rows are so from the start. The consumer takes them all: consumed reaches at least first(T).
//
// A window's rows lie in at most min_ring batches, so last_batch(T) < first(T) + min_ring <= consumed + ring,
// and T starts after all.
//
// Epochs change nothing: a step belongs to one epoch, so no window spans two, and all windows of an epoch
// start before any of the next. Nor does the last step: it is one batch, however few rows it has, made of
// what the lanes' last windows have left. In an evaluation the block stands in the place of the window.
class TrainingPlan : public BatchPlan {
 public:
  TrainingPlan(const RowIndex& index, std::uint8_t split, const OrderSettings& settings, Cursor cursor,
               std::uint64_t epochs, LaneRange lanes)
      : index_(index),
        split_(split),
        order_(index.rows_per_block(split), settings),
        lanes_(lanes),
        per_lane_(settings.batch_size / settings.lanes),
        steps_(order_.steps_per_epoch()),
        max_window_rows_(order_.max_window_rows()),
        epoch_(cursor.epoch) {
    ensure(cursor.step <= steps_, "the cursor is at step {} of an epoch of {} steps", cursor.step, steps_);
    if (steps_ > 0 &&
        std::max(epochs, cursor.epoch) > std::numeric_limits<std::uint64_t>::max() / steps_ - 1) {
      fail(ErrorCode::kConfig, "{} epochs of {} steps are more than can be counted", epochs, steps_);
    }
    first_step_ = cursor.epoch * steps_ + cursor.step;
    batches_ = std::max(epochs * steps_, first_step_) - first_step_;
    epochs_left_ = batches_ == 0 ? 0 : epochs - cursor.epoch;
    count_rows();
  }

  std::optional<BlockTask> next_task() override {
    while (true) {
      while (next_piece_ < pieces_.size()) {
        BlockTask task = make_task(pieces_[next_piece_++]);
        if (!task.places.empty()) return task;
      }
      if (next_turn_ < turns_.size()) {
        open_window(turns_[next_turn_++]);
      } else if (epochs_left_ > 0) {
        open_epoch();
      } else {
        return std::nullopt;
      }
    }
  }

  std::uint64_t batches() const override { return batches_; }
  std::uint32_t rows(std::uint64_t batch) const override {
    return is_last(step(batch) % steps_) ? last_rows_ : lanes_.count() * per_lane_;
  }
  std::uint64_t step(std::uint64_t batch) const override { return first_step_ + batch; }
  std::vector<std::uint32_t> lane_rows(std::uint64_t batch) const override {
    if (!is_last(step(batch) % steps_)) return std::vector<std::uint32_t>(lanes_.count(), per_lane_);
    std::vector<std::uint32_t> of_lanes;
    for (const LastStep& lane : last_step_) of_lanes.push_back(lane.rows);
    return of_lanes;
  }
  std::uint32_t max_rows() const override {
    if (batches_ == 0) return 0;
    return batches_ == 1 ? rows(0)
                         : std::max(rows(0), rows(1));  // of two in a row one is not the last, if any is not
  }
  std::uint64_t min_ring() const override {
    const std::uint64_t span = most_batches(max_window_rows_, per_lane_);
    return std::max<std::uint64_t>(1, std::min({span, steps_, batches_}));
  }
  std::uint64_t plan_bytes() const override {
    const std::uint64_t blocks = index_.blocks().size();
    return blocks * sizeof(std::uint32_t) + order_.epoch_bytes() + max_turns() * sizeof(Turn) +
           lanes_.count() * sizeof(LastStep) + max_window_rows_ * 2 * sizeof(std::uint32_t);
  }

 private:
  /// A window of the epoch: their tasks come in this order.
  struct Turn {
    std::uint64_t first_step;
    std::uint32_t lane;
    std::uint32_t window;
    auto operator<=>(const Turn&) const = default;
  };
  /// Where a lane's rows of an epoch's last, packed step start.
  struct LastStep {
    std::uint32_t row_in_batch;
    std::uint32_t position;
    std::uint32_t rows;
  };

  std::uint64_t max_turns() const {
    return std::min<std::uint64_t>(index_.blocks().size() + lanes_.count(), order_.max_windows());
  }
  bool is_last(std::uint64_t step_in_epoch) const { return step_in_epoch + 1 == steps_; }

  /// Lengths of lanes, hence of batches, are the same in all epochs.
  void count_rows() {
    if (batches_ == 0) return;
    const EpochOrder any = order_.epoch(epoch_);
    std::uint32_t position = any.first_position(steps_ - 1, lanes_.first);
    for (std::uint32_t lane = lanes_.first; lane < lanes_.last; ++lane) {
      const std::uint32_t rows = any.rows_in_step(steps_ - 1, lane);
      last_step_.push_back({last_rows_, position, rows});
      last_rows_ += rows;
      position += rows;
    }
  }

  void open_epoch() {
    pieces_ = {};
    next_piece_ = 0;
    turns_.clear();
    next_turn_ = 0;
    current_.reset();  // never two epochs at a time
    turns_.reserve(max_turns());
    place_.reserve(max_window_rows_);
    current_.emplace(order_.epoch(epoch_++));
    --epochs_left_;
    const std::uint64_t epoch_start = current_->epoch() * steps_;
    for (std::uint32_t lane = lanes_.first; lane < lanes_.last; ++lane) {
      const auto windows = current_->windows(lane);
      for (std::uint32_t i = 0; i < windows.size(); ++i) {
        const Window& window = windows[i];
        const std::uint64_t last_step = (window.first_position + window.rows - 1) / per_lane_;
        if (epoch_start + last_step < first_step_) continue;  // before the cursor: not worth a shuffle
        turns_.push_back({window.first_position / per_lane_, lane, i});
      }
    }
    std::ranges::sort(turns_);
  }

  void open_window(const Turn& turn) {
    lane_ = turn.lane;
    const Window& window = current_->windows(lane_)[turn.window];
    pieces_ = current_->pieces(lane_).subspan(window.first_piece, window.last_piece - window.first_piece);
    next_piece_ = 0;
    next_row_ = 0;
    window_position_ = window.first_position;
    const std::uint64_t last_step =
        current_->epoch() * steps_ + (window.first_position + window.rows - 1) / per_lane_;
    last_batch_ = last_step - first_step_;
    const auto order = current_->permutation(lane_, turn.window);
    place_.resize(order.size());
    for (std::uint32_t q = 0; q < order.size(); ++q) place_[order[q]] = q;
  }

  BlockTask make_task(const Piece& piece) {
    BlockTask task{piece.block, last_batch_, {}};
    task.places.reserve(piece.count);
    const auto rows = index_.rows_of(split_, piece.block);
    const std::uint64_t epoch_start = current_->epoch() * steps_;
    const LastStep packed = last_step_[lane_ - lanes_.first];
    const LastStep regular{(lane_ - lanes_.first) * per_lane_, lane_ * per_lane_, per_lane_};
    for (std::uint32_t i = 0; i < piece.count; ++i) {
      const std::uint64_t in_lane = window_position_ + place_[next_row_ + i];
      const std::uint64_t step = in_lane / per_lane_;
      if (epoch_start + step < first_step_) continue;
      const auto offset = static_cast<std::uint32_t>(in_lane % per_lane_);
      const LastStep& start = is_last(step) ? packed : regular;
      task.places.push_back({rows[piece.first + i], epoch_start + step - first_step_,
                             start.row_in_batch + offset, start.position + offset});
    }
    next_row_ += piece.count;
    return task;
  }

  const RowIndex& index_;
  std::uint8_t split_;
  SampleOrder order_;
  LaneRange lanes_;
  std::uint32_t per_lane_;  ///< rows of a lane in a step
  std::uint64_t steps_;     ///< of an epoch
  std::uint64_t max_window_rows_;
  std::uint64_t first_step_ = 0;
  std::uint64_t batches_ = 0;
  std::uint32_t last_rows_ = 0;  ///< of this rank in an epoch's last step
  std::vector<LastStep> last_step_;

  std::uint64_t epoch_;  ///< the next to open
  std::uint64_t epochs_left_ = 0;
  std::optional<EpochOrder> current_;
  std::vector<Turn> turns_;
  std::size_t next_turn_ = 0;
  // The open window.
  std::uint32_t lane_ = 0;
  std::span<const Piece> pieces_;
  std::size_t next_piece_ = 0;
  std::uint64_t next_row_ = 0;  ///< number, in the window laid end to end, of the next piece's first row
  std::uint64_t window_position_ = 0;  ///< of its first row in the lane
  std::uint64_t last_batch_ = 0;
  std::vector<std::uint32_t> place_;  ///< of each row of the window among those given
};

class EvaluationPlan : public BatchPlan {
 public:
  EvaluationPlan(const RowIndex& index, std::uint8_t split, std::uint32_t micro_batch, std::uint32_t rank,
                 std::uint32_t world)
      : index_(index),
        split_(split),
        micro_batch_(micro_batch),
        rows_per_block_(index.rows_per_block(split)) {
    const std::uint64_t rows = index.rows(split);
    const std::uint64_t all = ceil_divide(rows, micro_batch);
    // Micro-batch m is rank floor(m × world / all)'s, so rank r's start at ceil(r × all / world).
    const auto first_of = [&](std::uint64_t r) {
      return r * (all / world) + ceil_divide(r * (all % world), world);
    };
    first_batch_ = first_of(rank);
    batches_ = first_of(std::uint64_t{rank} + 1) - first_batch_;
    first_row_ = std::min(rows, first_batch_ * micro_batch);
    last_row_ = std::min(rows, (first_batch_ + batches_) * micro_batch);
  }

  std::optional<BlockTask> next_task() override {
    for (; block_ < rows_per_block_.size() && block_row_ < last_row_; ++block_) {
      const std::uint64_t start = block_row_;
      block_row_ += rows_per_block_[block_];
      const std::uint64_t from = std::max(start, first_row_);
      const std::uint64_t until = std::min(block_row_, last_row_);
      if (from < until) return make_task(block_++, start, from, until);
    }
    return std::nullopt;
  }

  std::uint64_t batches() const override { return batches_; }
  std::uint32_t rows(std::uint64_t batch) const override {
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(micro_batch_, last_row_ - first_row_ - batch * micro_batch_));
  }
  std::uint64_t step(std::uint64_t batch) const override { return first_batch_ + batch; }
  std::uint32_t max_rows() const override { return batches_ == 0 ? 0 : rows(0); }
  std::uint64_t min_ring() const override {
    const std::uint64_t most = rows_per_block_.empty() ? 0 : std::ranges::max(rows_per_block_);
    return std::max<std::uint64_t>(1, std::min(most_batches(most, micro_batch_), batches_));
  }
  std::uint64_t plan_bytes() const override { return rows_per_block_.size() * sizeof(std::uint32_t); }

 private:
  /// Rows [from, until) of the split, in a block whose first row is row `start` of the split.
  BlockTask make_task(std::uint32_t block, std::uint64_t start, std::uint64_t from,
                      std::uint64_t until) const {
    BlockTask task{block, (until - 1 - first_row_) / micro_batch_, {}};
    task.places.reserve(until - from);
    const auto rows = index_.rows_of(split_, block);
    for (std::uint64_t row = from; row < until; ++row) {
      const auto offset = static_cast<std::uint32_t>((row - first_row_) % micro_batch_);
      task.places.push_back({rows[row - start], (row - first_row_) / micro_batch_, offset, offset});
    }
    return task;
  }

  const RowIndex& index_;
  std::uint8_t split_;
  std::uint32_t micro_batch_;
  std::vector<std::uint32_t> rows_per_block_;
  std::uint64_t first_batch_ = 0;
  std::uint64_t batches_ = 0;
  std::uint64_t first_row_ = 0;  ///< of this rank, among the split's
  std::uint64_t last_row_ = 0;
  std::uint32_t block_ = 0;
  std::uint64_t block_row_ = 0;  ///< first row of `block_` among the split's
};

}  // namespace

std::unique_ptr<BatchPlan> make_training_plan(const RowIndex& index, std::uint8_t split,
                                              const OrderSettings& settings, Cursor cursor,
                                              std::uint64_t epochs, std::uint32_t rank, std::uint32_t world) {
  check_order(settings, world);
  ensure(rank < world, "rank {} of {}", rank, world);
  return std::make_unique<TrainingPlan>(index, split, settings, cursor, epochs,
                                        lanes_of_rank(rank, world, settings.lanes));
}

std::unique_ptr<BatchPlan> make_evaluation_plan(const RowIndex& index, std::uint8_t split,
                                                std::uint32_t micro_batch, std::uint32_t rank,
                                                std::uint32_t world) {
  if (micro_batch == 0) fail(ErrorCode::kConfig, "evaluate.micro_batch must be at least 1");
  ensure(rank < world, "rank {} of {}", rank, world);
  return std::make_unique<EvaluationPlan>(index, split, micro_batch, rank, world);
}

}  // namespace muster
