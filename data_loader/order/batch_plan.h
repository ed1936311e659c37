#pragma once
// Which block goes to which rows of which batches: what a BatchStream carries out. Three plans: training,
// evaluation and prediction.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "data_loader/manifest/row_index.h"
#include "data_loader/order/sample_order.h"

namespace muster {

/// Where one row of a block goes.
struct RowPlace {
  std::uint32_t row_in_block = 0;  ///< 0-based row of the block (not of the split)
  std::uint64_t batch = 0;         ///< sequence number of the batch in the plan
  std::uint32_t row_in_batch = 0;  ///< of this rank's batch
  std::uint32_t position = 0;      ///< in the global batch
};

/// One block to read, and where its rows go.
struct BlockTask {
  std::uint32_t block = 0;
  std::uint64_t last_batch = 0;  ///< the latest batch any of its window's rows go to
  std::vector<RowPlace> places;
};

/// A sequence of batches and the tasks that fill them. Tasks come in an order such that a ring of min_ring()
/// batches never deadlocks: all tasks of a batch come before any task that needs a slot min_ring() later
/// (why: batch_plan.cpp). next_task is for one thread at a time; everything else is safe beside it.
class BatchPlan {
 public:
  virtual ~BatchPlan() = default;
  /// The next task, or nothing at the end.
  virtual std::optional<BlockTask> next_task() = 0;
  /// Number of batches in the plan.
  virtual std::uint64_t batches() const = 0;
  /// Rows of this rank in a batch (can be 0), and the step number the batch gets.
  virtual std::uint32_t rows(std::uint64_t batch) const = 0;
  virtual std::uint64_t step(std::uint64_t batch) const = 0;
  /// rows(batch) by the lanes they are of, in order; of one lane where a plan has none.
  virtual std::vector<std::uint32_t> lane_rows(std::uint64_t batch) const { return {rows(batch)}; }
  /// Most rows of any batch; fewest batches a ring must hold (>= 1); most bytes the plan itself keeps (a
  /// task's places are the caller's: sizeof(RowPlace) a row).
  virtual std::uint32_t max_rows() const = 0;
  virtual std::uint64_t min_ring() const = 0;
  virtual std::uint64_t plan_bytes() const = 0;
};

/// Training: rank's lanes from `cursor` up to the end of epoch `epochs - 1`. Step numbers are global:
/// epoch × steps_per_epoch + step. A batch in which the rank has no rows is a batch all the same. `index`
/// outlives the plan.
std::unique_ptr<BatchPlan> make_training_plan(const RowIndex& index, std::uint8_t split,
                                              const OrderSettings& settings, Cursor cursor,
                                              std::uint64_t epochs, std::uint32_t rank, std::uint32_t world);

/// Evaluation: the split's rows in dataset order in micro-batches of `micro_batch` rows (the last one
/// shorter), micro-batch m dealt to rank floor(m × world / micro-batches): consecutive runs. step = number of
/// the micro-batch; position = row in it. `index` outlives the plan.
std::unique_ptr<BatchPlan> make_evaluation_plan(const RowIndex& index, std::uint8_t split,
                                                std::uint32_t micro_batch, std::uint32_t rank,
                                                std::uint32_t world);

/// Prediction: the same micro-batches as in an evaluation, dealt in rounds so that results can be written in
/// order as they come: micro-batch m to rank floor(m / run) mod world. `run` >= 1. `index` outlives the plan.
std::unique_ptr<BatchPlan> make_prediction_plan(const RowIndex& index, std::uint8_t split,
                                                std::uint32_t micro_batch, std::uint64_t run,
                                                std::uint32_t rank, std::uint32_t world);

}  // namespace muster
