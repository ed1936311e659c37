#include "data_loader/split_assigner.h"

#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "core/error.h"
#include "core/random.h"
#include "data_loader/row_index.h"

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

std::vector<double> limits_of(const FractionSplit& rule) {
  std::vector<double> limits;
  double sum = 0;
  for (const FractionSplit::Share& share : rule.shares) limits.push_back(sum += share.fraction);
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

/// The first split whose limit lies above what the key gives.
std::uint8_t split_of_key(std::uint64_t random_key, std::span<const double> limits) {
  const double u = static_cast<double>(random_key >> 11) * 0x1p-53;
  for (std::size_t i = 0; i < limits.size(); ++i) {
    if (u < limits[i]) return static_cast<std::uint8_t>(i);
  }
  return RowIndex::kNone;
}

}  // namespace

SplitAssigner::SplitAssigner(const Contract& contract) : contract_(contract) {
  const auto* by_time = std::get_if<TimeSplit>(&contract.splits());
  const std::string& name =
      by_time != nullptr ? by_time->field : std::get<FractionSplit>(contract.splits()).key;
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
  const auto& rule = std::get<FractionSplit>(contract_.splits());
  const std::vector<double> limits = limits_of(rule);
  if (field != nullptr) {
    for_each_value(*field, values, rows, [&](std::uint64_t row, auto key) {
      splits[row] =
          split_of_key(random_key(rule.seed, Purpose::kSplit, {static_cast<std::uint64_t>(key)}), limits);
    });
    return splits;
  }
  for (std::uint64_t row = 0; row < rows; ++row)
    splits[row] = split_of_key(random_key(rule.seed, Purpose::kSplit, {partition, first_row + row}), limits);
  return splits;
}

}  // namespace muster
