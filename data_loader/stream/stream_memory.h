#pragma once
// How much memory a stream of batches takes, and what it is told.

#include <cstdint>
#include <span>

#include "data_loader/dataset/quarantine.h"
#include "data_loader/features/feature_pipeline.h"
#include "data_loader/manifest/manifest.h"
#include "data_loader/order/batch_plan.h"

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

/// Of the fullest block.
std::uint32_t most_rows(std::span<const Block> blocks);

}  // namespace muster
