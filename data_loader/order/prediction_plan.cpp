#include <algorithm>
#include <utility>

#include "core/error.h"
#include "data_loader/order/batch_plan.h"

namespace muster {
namespace {

std::uint64_t ceil_divide(std::uint64_t a, std::uint64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

/// A rank's rows are those of its micro-batches, counted one after another ("own rows"). One task a block,
/// with all own rows in it, so that a rank decodes a block once; why a ring of min_ring never deadlocks: as
/// in an evaluation (batch_plan.cpp), since the own rows of a block are consecutive.
class PredictionPlan : public BatchPlan {
 public:
  PredictionPlan(const RowIndex& index, std::uint8_t split, std::uint32_t micro_batch, std::uint64_t run,
                 std::uint32_t rank, std::uint32_t world)
      : index_(index),
        split_(split),
        micro_batch_(micro_batch),
        run_(run),
        rank_(rank),
        world_(world),
        rows_per_block_(index.rows_per_block(split)),
        rows_(index.rows(split)) {
    const std::uint64_t all = ceil_divide(rows_, micro_batch);
    const std::uint64_t per_round = run * world;
    const std::uint64_t rest = all % per_round;
    batches_ = all / per_round * run + std::min(run, rest - std::min(rest, rank * run));
  }

  std::optional<BlockTask> next_task() override {
    while (block_ < rows_per_block_.size()) {
      const std::uint64_t start = block_row_;
      block_row_ += rows_per_block_[block_];
      BlockTask task = make_task(block_++, start);
      if (!task.places.empty()) return task;
    }
    return std::nullopt;
  }

  std::uint64_t batches() const override { return batches_; }
  std::uint32_t rows(std::uint64_t batch) const override {
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(micro_batch_, rows_ - step(batch) * micro_batch_));
  }
  std::uint64_t step(std::uint64_t batch) const override {
    return (batch / run_ * world_ + rank_) * run_ + batch % run_;
  }
  std::uint32_t max_rows() const override { return batches_ == 0 ? 0 : rows(0); }
  std::uint64_t min_ring() const override {
    const std::uint64_t most = rows_per_block_.empty() ? 0 : std::ranges::max(rows_per_block_);
    const std::uint64_t touched = most == 0 ? 0 : ceil_divide(most - 1, micro_batch_) + 1;
    return std::max<std::uint64_t>(1, std::min(touched, batches_));
  }
  std::uint64_t plan_bytes() const override { return rows_per_block_.size() * sizeof(std::uint32_t); }

 private:
  /// The own rows of a block whose first row is row `start` of the split.
  BlockTask make_task(std::uint32_t block, std::uint64_t start) const {
    BlockTask task{block, 0, {}};
    const auto rows = index_.rows_of(split_, block);
    for (std::uint64_t row = start; row < start + rows.size();) {
      const std::uint64_t step = row / micro_batch_;
      const std::uint64_t until = std::min((step + 1) * micro_batch_, start + rows.size());
      if (step / run_ % world_ != rank_) {
        row = until;
        continue;
      }
      const std::uint64_t batch = step / (run_ * world_) * run_ + step % run_;
      task.last_batch = batch;
      for (; row < until; ++row) {
        const auto offset = static_cast<std::uint32_t>(row % micro_batch_);
        task.places.push_back({rows[row - start], batch, offset, offset});
      }
    }
    return task;
  }

  const RowIndex& index_;
  std::uint8_t split_;
  std::uint32_t micro_batch_;
  std::uint64_t run_;
  std::uint64_t rank_;
  std::uint64_t world_;
  std::vector<std::uint32_t> rows_per_block_;
  std::uint64_t rows_;
  std::uint64_t batches_ = 0;
  std::uint32_t block_ = 0;
  std::uint64_t block_row_ = 0;  ///< first row of `block_` among the split's
};

}  // namespace

std::unique_ptr<BatchPlan> make_prediction_plan(const RowIndex& index, std::uint8_t split,
                                                std::uint32_t micro_batch, std::uint64_t run,
                                                std::uint32_t rank, std::uint32_t world) {
  if (micro_batch == 0) fail(ErrorCode::kConfig, "evaluate.micro_batch must be at least 1");
  ensure(rank < world && run > 0, "rank {} of {}, runs of {}", rank, world, run);
  return std::make_unique<PredictionPlan>(index, split, micro_batch, run, rank, world);
}

}  // namespace muster
