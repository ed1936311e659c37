#pragma once
// Which split a row belongs to, by the contract's rule.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "data_loader/contract.h"

namespace muster {

/// Immutable, thread-safe; the contract outlives it.
class SplitAssigner {
 public:
  explicit SplitAssigner(const Contract& contract);

  /// Index (in contract.fields()) of the field whose column `assign` wants; -1 if it needs none.
  int field() const { return field_; }
  /// The split number of rows [first_row, first_row + rows) of a partition, RowIndex::kNone for rows of no
  /// split. `values`: the field's of those rows, or empty. By time a row belongs to the first split with
  /// from <= time < until; by fraction row r of partition p has u = (random_key(seed, kSplit, {p, r}) >> 11)
  /// / 2^53 and belongs to the first split for which u is less than the sum of the shares so far (1 for a sum
  /// of 1); by key the same with {k}, the key's value as 64 bits (two's complement, whatever its dtype).
  std::vector<std::uint8_t> assign(std::uint32_t partition, std::uint64_t first_row, std::uint64_t rows,
                                   std::span<const std::byte> values) const;

 private:
  const Contract& contract_;
  int field_ = -1;
};

}  // namespace muster
