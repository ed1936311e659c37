#pragma once
// Prefetching threads that carry out a plan: read blocks, transform, scatter rows into a ring of batch
// buffers.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data_loader/batch.h"
#include "data_loader/batch_plan.h"
#include "data_loader/block_reader.h"
#include "data_loader/feature_pipeline.h"
#include "data_loader/quarantine.h"

namespace muster {

/// The memory a stream takes on one rank; computed before the first read, and kept.
struct StreamMemory {
  std::uint64_t ring_batches = 0;
  std::uint64_t ring_bytes = 0;
  std::uint64_t block_bytes = 0;  ///< raw columns and places of the rows, one block per thread
  std::uint64_t plan_bytes = 0;
  std::uint64_t total() const { return ring_bytes + block_bytes + plan_bytes; }
};

struct StreamOptions {
  unsigned threads = 1;
  std::uint64_t memory = std::uint64_t{1} << 30;  ///< bound for this rank, bytes
  std::uint64_t reserved = 0;                     ///< of that, for another stream that lives beside this one
  // For the advice when memory is too little: ranks there are, and lanes they share; 0 where more ranks take
  // no rows off this one (evaluation).
  std::uint32_t world = 1;
  std::uint32_t lanes = 0;
  BadRowPolicy on_bad_rows = BadRowPolicy::kRefuse;
  /// Rows to pass over; outlives the stream. Needed unless bad rows are refused. What is added to it counts
  /// from the next batch on.
  const Quarantine* quarantine = nullptr;
};

/// Chooses the ring within the bound: twice min_ring plus 2 where it fits (never more batches than the plan
/// has), at least min_ring. Error{kConfig} says how many bytes on this rank, or how many ranks, would do.
/// Threads: at least 1.
StreamMemory plan_memory(const BatchPlan& plan, const FeaturePipeline& pipeline, const Contract& contract,
                         std::span<const Block> blocks, const StreamOptions& options);

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
