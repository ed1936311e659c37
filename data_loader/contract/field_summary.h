#pragma once
// What fitting wants to know of a field in the training split.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data_loader/contract/contract.h"
#include "data_loader/contract/quantile_sketch.h"
#include "data_loader/contract/statistics.h"
#include "data_loader/contract/value_counts.h"

namespace muster {

/// What a summary holds beside the moments.
struct SummaryNeeds {
  bool quantiles = false;
  bool counts = false;  ///< of each value: of texts and integers
  bool groups = false;  ///< moments of each slice along the first extent of the shape
  SummaryNeeds operator|(const SummaryNeeds& other) const {
    return {quantiles || other.quantiles, counts || other.counts, groups || other.groups};
  }
};

/// Mergeable; of numbers they are those that the field's maps make.
struct FieldSummary {
  FieldStatistics numbers;  ///< of texts: only count and missing
  std::optional<QuantileSketch> quantiles;
  std::optional<ValueCounts> counts;
  std::vector<FieldStatistics> groups;

  /// Of `rows` of a whole block's column.
  static FieldSummary of(const Field& field, const SummaryNeeds& needs, std::span<const std::byte> column,
                         std::span<const std::uint32_t> rows);
  /// An empty one merges with anything.
  static FieldSummary merge(const FieldSummary& left, const FieldSummary& right);
};

/// What fitting a field's transform and its imputation takes.
SummaryNeeds needs_of(const Field& field);

/// The text of a padded value: up to the first zero byte.
std::string_view text_at(const Field& field, std::span<const std::byte> column, std::size_t row);

}  // namespace muster
