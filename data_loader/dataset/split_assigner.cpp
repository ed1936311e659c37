#include "data_loader/dataset/split_assigner.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <type_traits>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "core/random.h"
#include "data_loader/contract/field_summary.h"
#include "data_loader/manifest/row_index.h"

namespace muster {

namespace {

/// Exact for every numeric type.
template <typename T>
bool less(T time, std::int64_t bound) {
  if constexpr (std::is_floating_point_v<T>) {
    return time < static_cast<T>(bound);
  } else {
    return std::cmp_less(time, bound);
  }
}

template <typename T>
std::uint8_t split_of(T time, const TimeSplit& rule) {
  for (std::size_t i = 0; i < rule.intervals.size(); ++i) {
    const auto& [_, from, until] = rule.intervals[i];
    if ((!from || !less(time, *from)) && (!until || less(time, *until))) return static_cast<std::uint8_t>(i);
  }
  return RowIndex::kNone;
}

std::vector<double> limits_of(const std::vector<FractionSplit::Share>& shares) {
  std::vector<double> limits;
  double sum = 0;
  for (const FractionSplit::Share& share : shares) limits.push_back(sum += share.fraction);
  // 0.7 + 0.2 + 0.1 is not quite 1, yet means that every row is in a split.
  if (!limits.empty() && limits.back() > 1 - 1e-9) limits.back() = 1;
  return limits;
}

/// Calls body(row, value) for every row.
template <typename Body>
void for_each_value(const Field& field, std::span<const std::byte> values, std::uint64_t rows,
                    const Body& body) {
  visit(field.dtype, [&]<typename T>(T*) {
    ensure(values.size() == rows * sizeof(T), "the column '{}' has {} bytes for {} rows", field.name,
           values.size(), rows);
    for (std::uint64_t row = 0; row < rows; ++row) {
      T value;
      std::memcpy(&value, values.data() + row * sizeof(T), sizeof(T));
      body(row, value);
    }
  });
}

double unit(std::uint64_t random_key) { return static_cast<double>(random_key >> 11) * 0x1p-53; }

/// The first split whose limit lies above what the key gives.
std::uint8_t split_of_key(std::uint64_t random_key, std::span<const double> limits) {
  const double u = unit(random_key);
  for (std::size_t i = 0; i < limits.size(); ++i) {
    if (u < limits[i]) return static_cast<std::uint8_t>(i);
  }
  return RowIndex::kNone;
}

/// Calls body(row, value of the key as 64 bits) for every row.
template <typename Body>
void for_each_key(const Field& field, std::span<const std::byte> values, std::uint64_t rows,
                  const Body& body) {
  if (!field.is_text()) {
    for_each_value(field, values, rows,
                   [&](std::uint64_t row, auto key) { body(row, static_cast<std::uint64_t>(key)); });
    return;
  }
  for (std::uint64_t row = 0; row < rows; ++row) {
    const Sha256 hash = sha256(std::as_bytes(std::span(text_at(field, values, row))));
    std::uint64_t key = 0;
    std::memcpy(&key, hash.bytes.data(), sizeof key);
    body(row, key);
  }
}

/// The split of row `row` of `all` in their order.
std::uint8_t split_of_row(const OrderSplit& rule, std::span<const double> limits, std::uint64_t row,
                          std::uint64_t all) {
  std::uint64_t begin = 0;
  for (std::size_t i = 0; i < limits.size(); ++i) {
    const auto end = static_cast<std::uint64_t>(std::llround(limits[i] * static_cast<double>(all)));
    if (row < end) return row >= begin ? static_cast<std::uint8_t>(i) : RowIndex::kNone;
    begin = end + rule.gap_rows;
  }
  return RowIndex::kNone;
}

}  // namespace

SplitAssigner::SplitAssigner(const Contract& contract, std::vector<std::uint64_t> rows_before)
    : contract_(contract), rows_before_(std::move(rows_before)) {
  std::string name;
  if (const auto* by_time = std::get_if<TimeSplit>(&contract.splits())) name = by_time->field;
  if (const auto* by_hash = std::get_if<FractionSplit>(&contract.splits())) name = by_hash->key;
  if (!name.empty()) field_ = static_cast<int>(&contract.field(name) - contract.fields().data());
}

std::vector<std::uint8_t> SplitAssigner::assign(std::uint32_t partition, std::uint64_t first_row,
                                                std::uint64_t rows, std::span<const std::byte> values) const {
  std::vector<std::uint8_t> splits(rows, RowIndex::kNone);
  const Field* field = field_ < 0 ? nullptr : &contract_.fields()[static_cast<std::size_t>(field_)];
  if (const auto* rule = std::get_if<TimeSplit>(&contract_.splits())) {
    for_each_value(*field, values, rows,
                   [&](std::uint64_t row, auto time) { splits[row] = split_of(time, *rule); });
    return splits;
  }
  if (const auto* rule = std::get_if<OrderSplit>(&contract_.splits())) {
    const std::vector<double> limits = limits_of(rule->shares);
    for (std::uint64_t row = 0; row < rows; ++row)
      splits[row] =
          split_of_row(*rule, limits, rows_before_.at(partition) + first_row + row, rows_before_.back());
    return splits;
  }
  const auto& rule = std::get<FractionSplit>(contract_.splits());
  if (rule.stratified) return splits;
  const std::vector<double> limits = limits_of(rule.shares);
  if (field != nullptr) {
    for_each_key(*field, values, rows, [&](std::uint64_t row, std::uint64_t key) {
      splits[row] = split_of_key(random_key(rule.seed, Purpose::kSplit, {key}), limits);
    });
    return splits;
  }
  for (std::uint64_t row = 0; row < rows; ++row)
    splits[row] = split_of_key(random_key(rule.seed, Purpose::kSplit, {partition, first_row + row}), limits);
  return splits;
}

std::vector<std::uint8_t> stratify(const FractionSplit& rule, std::span<const std::uint8_t> labels,
                                   std::span<const std::uint64_t> rows_before) {
  struct Place {
    std::uint64_t key;
    std::uint64_t row;
  };
  std::map<std::uint8_t, std::vector<Place>> by_label;
  for (std::uint32_t partition = 0; partition + 1 < rows_before.size(); ++partition) {
    for (std::uint64_t row = rows_before[partition]; row < rows_before[partition + 1]; ++row) {
      if (labels[row] == RowIndex::kNone) continue;
      by_label[labels[row]].push_back(
          {random_key(rule.seed, Purpose::kSplit, {partition, row - rows_before[partition]}), row});
    }
  }
  std::vector<std::uint8_t> splits(labels.size(), RowIndex::kNone);
  const std::vector<double> limits = limits_of(rule.shares);
  for (auto& [label, places] : by_label) {
    std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
      return std::pair(a.key, a.row) < std::pair(b.key, b.row);
    });
    const OrderSplit shares{0, rule.shares};
    for (std::size_t i = 0; i < places.size(); ++i)
      splits[places[i].row] = split_of_row(shares, limits, i, places.size());
  }
  return splits;
}

}  // namespace muster
