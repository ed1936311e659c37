#include "data_loader/dataset/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "core/error.h"

namespace muster {
namespace {

constexpr std::size_t kBins = 24;
constexpr std::size_t kTop = 10;
constexpr std::array<double, 7> kShares = {0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99};

/// As stored: what the transforms make of it is another matter.
Field stored(const Field& field) {
  Field plain = field;
  plain.transform.clear();
  return plain;
}

/// The row index's numbers of the splits, "no split" last.
std::vector<std::uint8_t> split_numbers(const RowIndex& index) {
  std::vector<std::uint8_t> numbers;
  for (std::size_t i = 0; i < index.split_names().size(); ++i)
    numbers.push_back(static_cast<std::uint8_t>(i));
  numbers.push_back(RowIndex::kNone);
  return numbers;
}

Json top_json(const std::vector<std::pair<std::string, std::uint64_t>>& values) {
  Json top = Json::array();
  for (const auto& [value, count] : values) top.push_back({{"value", value}, {"count", count}});
  return top;
}

/// Of an exact sketch: its values by how often they occur.
std::vector<std::pair<std::string, std::uint64_t>> frequent(const QuantileSketch& sketch) {
  std::vector<QuantileSketch::Entry> entries = sketch.entries();
  std::ranges::stable_sort(entries, [](const auto& a, const auto& b) { return a.count > b.count; });
  entries.resize(std::min(entries.size(), kTop));
  std::vector<std::pair<std::string, std::uint64_t>> top;
  for (const auto& entry : entries) top.emplace_back(fmt::format("{}", entry.value), entry.count);
  return top;
}

struct Range {
  double least = std::numeric_limits<double>::infinity();
  double greatest = -std::numeric_limits<double>::infinity();
  bool has_width() const { return least < greatest && std::isfinite(greatest - least); }
};

/// Each entry's count goes to the bin of its value; bins are equally wide, the last one closed.
std::vector<std::uint64_t> histogram(const QuantileSketch& sketch, const Range& range) {
  std::vector<std::uint64_t> bins(kBins, 0);
  for (const QuantileSketch::Entry& entry : sketch.entries()) {
    const double place = (entry.value - range.least) / (range.greatest - range.least) * kBins;
    bins[std::min(kBins - 1, static_cast<std::size_t>(std::max(0.0, place)))] += entry.count;
  }
  return bins;
}

/// Whether different values are different doubles: beyond 2^53 integers are not.
bool told_apart(const Field& field, const FieldStatistics& numbers) {
  constexpr double kExact = 9007199254740992;
  return is_float(field.dtype) || (numbers.minimum >= -kExact && numbers.maximum <= kExact);
}

Json numbers_json(const Field& field, const FieldSummary& summary, const Range& range) {
  const FieldStatistics& numbers = summary.numbers;
  Json json = Json::object();
  if (numbers.count == 0) return json;
  json = {{"mean", numbers.mean},
          {"deviation", std::sqrt(numbers.variance())},
          {"minimum", numbers.minimum},
          {"maximum", numbers.maximum}};
  const QuantileSketch& sketch = summary.quantiles.value();
  Json quantiles = Json::object();
  for (const double share : kShares) quantiles[fmt::format("{}", share)] = sketch.quantile(share);
  json["quantiles"] = std::move(quantiles);
  const bool exact = sketch.exact() && told_apart(field, numbers);
  json["exact"] = exact;
  if (exact) {
    json["distinct"] = sketch.entries().size();
    json["top"] = top_json(frequent(sketch));
  }
  if (range.has_width()) json["histogram"] = histogram(sketch, range);
  return json;
}

Json texts_json(const FieldSummary& summary) {
  const bool exact = summary.counts && !summary.counts->given_up();
  Json json = {{"exact", exact}};
  if (!exact) return json;
  json["distinct"] = summary.counts->distinct();
  json["top"] = top_json(summary.counts->by_count(kTop));
  return json;
}

/// Largest distance of the two distribution functions (Kolmogorov and Smirnov's statistic).
double distance(const QuantileSketch& a, const QuantileSketch& b) {
  std::map<double, std::pair<std::uint64_t, std::uint64_t>> counts;
  for (const auto& entry : a.entries()) counts[entry.value].first += entry.count;
  for (const auto& entry : b.entries()) counts[entry.value].second += entry.count;
  const auto all_a = static_cast<double>(a.count());
  const auto all_b = static_cast<double>(b.count());
  double most = 0;
  std::uint64_t below_a = 0;
  std::uint64_t below_b = 0;
  for (const auto& [value, count] : counts) {
    below_a += count.first;
    below_b += count.second;
    most =
        std::max(most, std::abs(static_cast<double>(below_a) / all_a - static_cast<double>(below_b) / all_b));
  }
  return most;
}

/// Half the sum of the differences of the shares (total variation).
double distance(const ValueCounts& a, const ValueCounts& b) {
  double all_a = 0;
  double all_b = 0;
  std::map<std::string, std::pair<double, double>> counts;
  for (const auto& [value, count] : a.counts()) {
    counts[value].first = static_cast<double>(count);
    all_a += static_cast<double>(count);
  }
  for (const auto& [value, count] : b.counts()) {
    counts[value].second = static_cast<double>(count);
    all_b += static_cast<double>(count);
  }
  double sum = 0;
  for (const auto& [value, count] : counts) sum += std::abs(count.first / all_a - count.second / all_b);
  return sum / 2;
}

/// From the first split to another; nothing where one of them has no values.
Json distance_json(const FieldSummary& a, const FieldSummary& b) {
  if (a.numbers.count == 0 || b.numbers.count == 0) return nullptr;
  if (a.quantiles && b.quantiles) return distance(*a.quantiles, *b.quantiles);
  const bool counted = a.counts && b.counts && !a.counts->given_up() && !b.counts->given_up();
  return counted ? Json(distance(*a.counts, *b.counts)) : Json(nullptr);
}

Json field_json(const Field& field, const Json& role, const std::vector<const FieldSummary*>& of_split,
                const std::vector<std::string>& names) {
  Range range;
  for (const FieldSummary* summary : of_split) {
    if (field.is_text() || summary->numbers.count == 0) continue;
    range.least = std::min(range.least, summary->numbers.minimum);
    range.greatest = std::max(range.greatest, summary->numbers.maximum);
  }
  Json splits = Json::object();
  for (std::size_t s = 0; s < names.size(); ++s) {
    const FieldSummary& summary = *of_split[s];
    Json json = field.is_text() ? texts_json(summary) : numbers_json(field, summary, range);
    json["count"] = summary.numbers.count;
    json["missing"] = summary.numbers.missing;
    if (s > 0 && s + 1 < names.size()) json["distance"] = distance_json(*of_split[0], summary);
    splits[names[s]] = std::move(json);
  }
  Json result = {{"name", field.name},   {"role", role},       {"dtype", to_string(field.dtype)},
                 {"shape", field.shape}, {"unit", field.unit}, {"splits", std::move(splits)}};
  if (range.has_width()) result["bins"] = {{"from", range.least}, {"to", range.greatest}, {"count", kBins}};
  return result;
}

}  // namespace

SummaryNeeds profile_needs(const Field& field) {
  SummaryNeeds needs;
  needs.quantiles = !field.is_text();
  needs.counts = field.is_text();
  return needs;
}

std::vector<FieldSummary> profile_block(BlockReader& reader, const Dataset& dataset, std::uint32_t block) {
  const auto& fields = dataset.contract().fields();
  const auto splits = split_numbers(dataset.row_index());
  std::vector<FieldSummary> summaries(splits.size() * fields.size());
  std::vector<std::byte> column;
  for (std::size_t f = 0; f < fields.size(); ++f) {
    column.resize(dataset.row_index().blocks()[block].rows * fields[f].bytes_per_row());
    reader.read(block, f, column);
    for (std::size_t s = 0; s < splits.size(); ++s) {
      const auto rows = dataset.row_index().rows_of(splits[s], block);
      if (rows.empty()) continue;
      summaries[s * fields.size() + f] =
          FieldSummary::of(stored(fields[f]), profile_needs(fields[f]), column, rows);
    }
  }
  return summaries;
}

Json profile_json(const Dataset& dataset, const std::vector<FieldSummary>& summaries) {
  const auto& fields = dataset.contract().fields();
  std::vector<std::string> names = dataset.row_index().split_names();
  names.emplace_back("(no split)");
  ensure(summaries.size() == names.size() * fields.size(), "{} summaries of {} fields in {} splits",
         summaries.size(), fields.size(), names.size());
  Json splits = Json::array();
  std::uint64_t left = dataset.manifest().rows();
  for (std::size_t s = 0; s < names.size(); ++s) {
    const bool none = s + 1 == names.size();
    const std::uint64_t rows = none ? left : dataset.row_index().rows(static_cast<std::uint8_t>(s));
    left -= none ? 0 : rows;
    splits.push_back({{"name", names[s]}, {"rows", rows}});
  }
  const Json contract = dataset.contract().to_json();
  Json list = Json::array();
  for (std::size_t f = 0; f < fields.size(); ++f) {
    std::vector<const FieldSummary*> of_split;
    for (std::size_t s = 0; s < names.size(); ++s) of_split.push_back(&summaries[s * fields.size() + f]);
    list.push_back(field_json(fields[f], contract.at("fields")[f].at("role"), of_split, names));
  }
  return {{"format", "muster-profile-1"},
          {"fingerprint", dataset.manifest().fingerprint().hex()},
          {"rows", dataset.manifest().rows()},
          {"splits", std::move(splits)},
          {"fields", std::move(list)}};
}

}  // namespace muster
