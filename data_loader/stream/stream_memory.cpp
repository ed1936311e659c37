#include "data_loader/stream/stream_memory.h"

#include <algorithm>
#include <string>

#include "core/text.h"
#include "data_loader/contract/batch.h"
#include "data_loader/features/column_buffer.h"

namespace muster {
namespace {

/// A batch of the ring, and what each thread counts for it.
std::uint64_t slot_bytes(const FeaturePipeline& pipeline, std::uint64_t rows, const StreamOptions& options) {
  return Batch::bytes(pipeline.tensors(), rows) + options.threads * sizeof(std::uint32_t);
}

std::uint64_t ceil_divide(std::uint64_t a, std::uint64_t b) { return (a + b - 1) / b; }

/// Fewest batches that the plan can be carried out with.
std::uint64_t least_ring(const BatchPlan& plan) {
  return std::max<std::uint64_t>(1, std::min(plan.min_ring(), plan.batches()));
}

/// ", or N ranks" for the fewest ranks whose shares fit, if any does.
std::string ranks_that_would_do(const BatchPlan& plan, const FeaturePipeline& pipeline,
                                const StreamOptions& options, std::uint64_t fixed_bytes) {
  if (options.lanes == 0) return "";
  const std::uint64_t lanes = ceil_divide(options.lanes, options.world);  // of the rank with most
  const std::uint64_t rows = ceil_divide(plan.max_rows(), lanes);
  for (std::uint32_t world = options.world + 1; world <= options.lanes; ++world) {
    const std::uint64_t fewer = ceil_divide(options.lanes, world);
    const std::uint64_t bytes =
        fixed_bytes + plan.plan_bytes() + least_ring(plan) * slot_bytes(pipeline, rows * fewer, options);
    if (bytes <= options.memory) return fmt::format(", or {} ranks", world);
  }
  return "";
}

}  // namespace

StreamMemory plan_memory(const BatchPlan& plan, const FeaturePipeline& pipeline, const Contract& contract,
                         std::span<const Block> blocks, const StreamOptions& options) {
  ensure(options.threads > 0, "a stream needs at least one thread");
  const std::uint64_t rows = most_rows(blocks);
  const std::uint64_t batch_bytes = slot_bytes(pipeline, plan.max_rows(), options);
  StreamMemory memory;
  const std::uint64_t task_bytes = rows * sizeof(RowPlace);
  const std::uint64_t making =
      rows * 3 * sizeof(std::uint32_t);  // the plan collects rows for one task at a time
  memory.block_bytes =
      options.threads * (ColumnBuffer::bytes(pipeline, contract, rows) + task_bytes) + making;
  memory.plan_bytes = plan.plan_bytes();
  const std::uint64_t least = least_ring(plan);
  const std::uint64_t wanted = std::max(least, std::min(2 * plan.min_ring() + 2, plan.batches()));
  const std::uint64_t fixed = memory.block_bytes + memory.plan_bytes + options.reserved;
  if (fixed + least * batch_bytes > options.memory) {
    fail(ErrorCode::kConfig,
         "loader.memory is {} ({} bytes); at least {} ({} bytes) is needed on this rank{}",
         human_bytes(options.memory), options.memory, human_bytes(fixed + least * batch_bytes),
         fixed + least * batch_bytes, ranks_that_would_do(plan, pipeline, options, memory.block_bytes));
  }
  memory.ring_batches = std::min(wanted, (options.memory - fixed) / batch_bytes);
  memory.ring_bytes = memory.ring_batches * batch_bytes;
  return memory;
}

std::uint32_t most_rows(std::span<const Block> blocks) {
  std::uint32_t most = 0;
  for (const Block& block : blocks) most = std::max(most, block.rows);
  return most;
}

}  // namespace muster
