#pragma once
// Summaries of fields that merge the same way for any number of ranks: per block, along a fixed binary tree.

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "data_loader/contract/field_summary.h"

namespace muster {

/// One leaf per block (of all blocks of a dataset, empty ones too), each with the same number of fields.
/// Sub-trees are merged as soon as both halves are there, so a rank with a run of blocks holds O(log blocks)
/// nodes. The root is the same bits whoever held which blocks.
class SummaryTree {
 public:
  using Summaries = std::vector<FieldSummary>;

  void add(std::uint32_t block, Summaries leaf);
  /// Takes all nodes of another tree (of other blocks).
  void absorb(const SummaryTree& other);
  /// Bytes for another rank, and back. Throws Error{kBug} for bytes that are none.
  std::vector<std::byte> serialize() const;
  static SummaryTree deserialize(std::span<const std::byte> bytes);
  /// All blocks 0 … blocks-1 must be there (else Error{kBug}).
  Summaries root(std::uint32_t blocks) const;

 private:
  void insert(std::uint32_t level, std::uint32_t index, Summaries node);
  std::map<std::pair<std::uint32_t, std::uint32_t>, Summaries> nodes_;  ///< (level, index at that level)
};

}  // namespace muster
