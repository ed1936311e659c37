#pragma once
// Statistics of fields that merge the same way for any number of ranks: per block, along a fixed binary tree.

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "core/json.h"
#include "data_loader/dtype.h"

namespace muster {

/// Count, mean, spread and range of the values of one field; missing ones (NaN) are counted apart.
struct FieldStatistics {
  std::uint64_t count = 0;
  std::uint64_t missing = 0;
  double mean = 0;
  double m2 = 0;  ///< sum of squared distances from the mean
  double minimum = 0;
  double maximum = 0;

  /// Of `rows` of a column (each with `values_per_row` values of `type`).
  static FieldStatistics of(DType type, std::span<const std::byte> column, std::size_t values_per_row,
                            std::span<const std::uint32_t> rows);
  /// The statistics of both together (Chan, Golub, LeVeque 1983). Not commutative in bits: order matters.
  static FieldStatistics merge(const FieldStatistics& left, const FieldStatistics& right);
  /// Of the population; 0 for fewer than two values.
  double variance() const;

  Json to_json() const;
  static FieldStatistics from_json(const Json& json, const std::string& where);
};

/// One leaf per block (of all blocks of a dataset, empty ones too), each with the same number of fields.
/// Sub-trees are merged as soon as both halves are there, so a rank with a run of blocks holds O(log blocks)
/// nodes. The root is the same bits whoever held which blocks.
class StatisticsTree {
 public:
  using Statistics = std::vector<FieldStatistics>;

  void add(std::uint32_t block, Statistics leaf);
  /// Takes all nodes of another tree (of other blocks).
  void absorb(const StatisticsTree& other);
  /// Bytes for another rank, and back. Throws Error{kBug} for bytes that are none.
  std::vector<std::byte> serialize() const;
  static StatisticsTree deserialize(std::span<const std::byte> bytes);
  /// All blocks 0 … blocks-1 must be there (else Error{kBug}).
  Statistics root(std::uint32_t blocks) const;

 private:
  void insert(std::uint32_t level, std::uint32_t index, Statistics node);
  std::map<std::pair<std::uint32_t, std::uint32_t>, Statistics> nodes_;  ///< (level, index at that level)
};

}  // namespace muster
