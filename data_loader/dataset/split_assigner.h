#pragma once
// Which split a row belongs to, by the contract's rule.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "data_loader/contract/contract.h"

namespace muster {

/// Immutable, thread-safe; the contract outlives it.
class SplitAssigner {
 public:
  /// `rows_before[p]`: rows of the partitions before p, and the number of all rows last; only splits by order
  /// ask for them.
  explicit SplitAssigner(const Contract& contract, std::vector<std::uint64_t> rows_before = {});

  /// Index (in contract.fields()) of the field whose column `assign` wants; -1 if it needs none.
  int field() const { return field_; }
  /// The split number of rows [first_row, first_row + rows) of a partition, RowIndex::kNone for rows of no
  /// split. `values`: the field's of those rows, or empty. By time a row belongs to the first split with
  /// from <= time < until; by fraction row r of partition p has u = (random_key(seed, kSplit, {p, r}) >> 11)
  /// / 2^53 and belongs to the first split for which u is less than the sum of the shares so far (1 for a sum
  /// of 1); by key the same with {k}, the key's value as 64 bits (two's complement, whatever its dtype; of a
  /// text the first 8 bytes of its SHA-256, little-endian). Stratified shares get the split kNone here: see
  /// stratify.
  std::vector<std::uint8_t> assign(std::uint32_t partition, std::uint64_t first_row, std::uint64_t rows,
                                   std::span<const std::byte> values) const;

 private:
  const Contract& contract_;
  std::vector<std::uint64_t> rows_before_;
  int field_ = -1;
};

/// The splits of a stratified rule, in which each value of the label has the same shares, to the row: among
/// the rows of a value those with the least random numbers (as above) are first. `labels[i]`: the value's
/// number of row i of all rows, partition after partition, or kNone for rows that are in no split.
std::vector<std::uint8_t> stratify(const FractionSplit& rule, std::span<const std::uint8_t> labels,
                                   std::span<const std::uint64_t> rows_before);

}  // namespace muster
