#pragma once
// A column's numbers as the field's element-wise maps make them.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "data_loader/contract/contract.h"

namespace muster {

/// Numbers of rows as doubles, mapped by the field's maps (all steps that are maps), missing ones as NaN.
/// Immutable, thread-safe.
class ColumnValues {
 public:
  explicit ColumnValues(const Field& field);

  /// Whether a value is just itself: no maps, and nothing but NaN means missing.
  bool plain() const { return maps_.empty() && !field_.missing_value; }
  /// The values of the rows, one after another, values_per_row() each, into `out`. A value that a map cannot
  /// take (the logarithm of -2) becomes infinite, so that nobody takes it for a missing one.
  void read(std::span<const std::byte> column, std::span<const std::uint32_t> rows,
            std::span<double> out) const;
  /// One number through the maps.
  double map(double value) const;

 private:
  Field field_;
  std::vector<std::function<double(double)>> maps_;
};

}  // namespace muster
