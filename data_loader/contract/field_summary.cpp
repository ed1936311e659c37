#include "data_loader/contract/field_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <unordered_map>

#include "core/error.h"
#include "data_loader/contract/column_values.h"
#include "data_loader/contract/transform.h"

namespace muster {

namespace {

/// Texts; an empty one is missing.
FieldSummary of_texts(const Field& field, const SummaryNeeds& needs, std::span<const std::byte> column,
                      std::span<const std::uint32_t> rows) {
  FieldSummary summary;
  std::unordered_map<std::string_view, std::uint64_t> counts;
  for (const std::uint32_t row : rows) {
    const std::string_view text = text_at(field, column, row);
    if (text.empty()) {
      ++summary.numbers.missing;
      continue;
    }
    ++summary.numbers.count;
    if (needs.counts) ++counts[text];
  }
  if (!needs.counts) return summary;
  summary.counts.emplace();
  for (const auto& [text, count] : counts) summary.counts->add(text, count);
  return summary;
}

ValueCounts counts_of(const Field& field, std::span<const std::byte> column,
                      std::span<const std::uint32_t> rows) {
  return visit(field.dtype, [&]<typename T>(T*) {
    const auto* values = reinterpret_cast<const T*>(column.data());
    const std::size_t width = field.values_per_row();
    std::unordered_map<T, std::uint64_t> counts;
    for (const std::uint32_t row : rows) {
      for (std::size_t k = 0; k < width; ++k) {
        const T value = values[row * width + k];
        if (!field.is_missing(value)) ++counts[value];
      }
    }
    ValueCounts result;
    for (const auto& [value, count] : counts) result.add(fmt::to_string(value), count);
    return result;
  });
}

/// The moments of slice `group` of `groups` of each row's values.
FieldStatistics of_slice(std::span<const double> values, std::size_t width, std::size_t group,
                         std::size_t groups) {
  const std::size_t part = width / groups;
  std::vector<double> slice;
  slice.reserve(values.size() / groups);
  for (std::size_t first = group * part; first < values.size(); first += width)
    slice.insert(slice.end(), values.begin() + static_cast<std::ptrdiff_t>(first),
                 values.begin() + static_cast<std::ptrdiff_t>(first + part));
  return FieldStatistics::of(slice);
}

}  // namespace

std::string_view text_at(const Field& field, std::span<const std::byte> column, std::size_t row) {
  const auto* start = reinterpret_cast<const char*>(column.data()) + row * field.length;
  return {start, ::strnlen(start, field.length)};
}

FieldSummary FieldSummary::of(const Field& field, const SummaryNeeds& needs,
                              std::span<const std::byte> column, std::span<const std::uint32_t> rows) {
  ensure(rows.empty() || (rows.back() + 1) * field.bytes_per_row() <= column.size(),
         "row {} of a column of {} bytes", rows.empty() ? 0 : rows.back(), column.size());
  if (field.is_text()) return of_texts(field, needs, column, rows);
  FieldSummary summary;
  const std::size_t width = field.values_per_row();
  const ColumnValues mapped(field);
  if (needs.counts) summary.counts = counts_of(field, column, rows);
  if (mapped.plain() && !needs.quantiles && !needs.groups) {
    summary.numbers = FieldStatistics::of(field.dtype, column, width, rows);
    return summary;
  }
  std::vector<double> values(rows.size() * width);
  mapped.read(column, rows, values);
  summary.numbers = FieldStatistics::of(values);
  if (needs.groups) {
    const std::size_t groups = field.shape.empty() ? 1 : field.shape.front();
    for (std::size_t group = 0; group < groups; ++group)
      summary.groups.push_back(of_slice(values, width, group, groups));
  }
  if (needs.quantiles) {
    std::erase_if(values, [](double value) { return std::isnan(value); });
    summary.quantiles = QuantileSketch::of(std::move(values));
  }
  return summary;
}

FieldSummary FieldSummary::merge(const FieldSummary& left, const FieldSummary& right) {
  FieldSummary result;
  result.numbers = FieldStatistics::merge(left.numbers, right.numbers);
  if (left.quantiles && right.quantiles) {
    result.quantiles = QuantileSketch::merge(*left.quantiles, *right.quantiles);
  } else {
    result.quantiles = left.quantiles ? left.quantiles : right.quantiles;
  }
  result.counts = left.counts ? left.counts : right.counts;
  if (left.counts && right.counts) result.counts->merge(*right.counts);
  result.groups = left.groups.empty() ? right.groups : left.groups;
  for (std::size_t i = 0; i < std::min(left.groups.size(), right.groups.size()); ++i)
    result.groups[i] = FieldStatistics::merge(left.groups[i], right.groups[i]);
  return result;
}

SummaryNeeds needs_of(const Field& field) {
  if (field.transform.empty()) return {};
  const TransformFactory& last = transforms().get(field.transform.back().name);
  SummaryNeeds needs = last.needs;
  const bool imputed = field.missing == Missing::kImpute || field.missing == Missing::kIndicator;
  if (imputed && last.reads != TransformFactory::Reads::kRaw) {
    needs.quantiles = needs.quantiles || field.impute.kind == Imputation::Kind::kMedian ||
                      field.impute.kind == Imputation::Kind::kMode;
  }
  return needs;
}

}  // namespace muster
