#pragma once
// Prefetching threads that carry out a plan: read blocks, transform, scatter rows into a ring of batch
// buffers.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "data_loader/contract/batch.h"
#include "data_loader/dataset/quarantine.h"
#include "data_loader/features/feature_pipeline.h"
#include "data_loader/order/batch_plan.h"
#include "data_loader/reading/block_reader.h"
#include "data_loader/stream/stream_memory.h"

namespace muster {

/// Gives the plan's batches in order. One consumer thread; owns its prefetching threads and joins them when
/// destroyed.
class BatchStream {
 public:
  /// `reader`, `contract` and `pipeline` outlive the stream. Allocates and starts reading at once. Throws as
  /// plan_memory.
  BatchStream(std::unique_ptr<BatchPlan> plan, BlockReader& reader, const Contract& contract,
              const FeaturePipeline& pipeline, const StreamOptions& options,
              const BufferAllocator& allocator = aligned_allocator());
  ~BatchStream();

  /// The next batch, or nullptr at the end. It is the stream's: valid until the next call. Rethrows what the
  /// first prefetching thread to fail threw (Error with file:dataset[row]); all have then stopped reading,
  /// and every later call throws the same.
  const Batch* next();
  /// The batch that next() gives next, if it is whole: to be read before its turn. Its memory stays as it
  /// is until it is given, when rows of it may be passed over, which Batch::edits counts.
  const Batch* ahead();
  /// Waits until next() answers at once: true. `stop` is asked ten times a second meanwhile; false when it
  /// says yes first. Ends the life of the batch given last.
  bool wait(const std::function<bool()>& stop);
  /// Nothing more will be wanted: reading ends. False where a read has not come back after `patience`; then
  /// the destructor waits for it.
  bool stop_reading(std::chrono::milliseconds patience = std::chrono::seconds(1));
  /// Where bad rows are not refused: those found in reading that the batch given last is the first to have. A
  /// read that fails is made twice; then all rows of its block are bad.
  const std::vector<BadRows>& found() const;
  /// Rows of the batch given last that were taken out of it, by BadRowPolicy::kDrop.
  std::uint64_t dropped() const;
  /// Seconds that next() has waited for data so far.
  double wait_seconds() const;
  const StreamMemory& memory() const;

  BatchStream(const BatchStream&) = delete;
  BatchStream& operator=(const BatchStream&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster
