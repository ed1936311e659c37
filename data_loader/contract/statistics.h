#pragma once
// Moments and range of a field's numbers, mergeable.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/json.h"
#include "data_loader/contract/dtype.h"

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
  /// Of all these values.
  static FieldStatistics of(std::span<const double> values);
  /// The statistics of both together (Chan, Golub, LeVeque 1983). Not commutative in bits: order matters.
  static FieldStatistics merge(const FieldStatistics& left, const FieldStatistics& right);
  /// Of the population; 0 for fewer than two values.
  double variance() const;

  Json to_json() const;
  static FieldStatistics from_json(const Json& json, const std::string& where);
};

}  // namespace muster
