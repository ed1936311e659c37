#pragma once
// One block's raw columns, as a pipeline reads them.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "data_loader/features/feature_pipeline.h"
#include "data_loader/reading/block_reader.h"

namespace muster {

/// Room for one block at a time, made once. One thread. Keeps references to contract and pipeline.
class ColumnBuffer {
 public:
  /// For blocks of at most `rows` rows.
  ColumnBuffer(const FeaturePipeline& pipeline, const Contract& contract, std::uint64_t rows);
  static std::uint64_t bytes(const FeaturePipeline& pipeline, const Contract& contract, std::uint64_t rows);

  /// Throws as the reader.
  void read(BlockReader& reader, std::uint32_t block);
  /// Of the pipeline's source fields, aligned for any dtype; valid until the next read.
  std::span<const std::span<const std::byte>> columns() const { return columns_; }

 private:
  const FeaturePipeline& pipeline_;
  const Contract& contract_;
  std::vector<std::byte> bytes_;
  std::vector<std::span<const std::byte>> columns_;
};

}  // namespace muster
