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

}  // namespace

SplitAssigner::SplitAssigner(const Contract& contract) : contract_(contract) {
  if (const auto* rule = std::get_if<TimeSplit>(&contract.splits())) {
    time_field_ = static_cast<int>(&contract.field(rule->field) - contract.fields().data());
  }
}

std::vector<std::uint8_t> SplitAssigner::assign(std::uint32_t partition, std::uint64_t first_row,
                                                std::uint64_t rows, std::span<const std::byte> times) const {
  std::vector<std::uint8_t> splits(rows, RowIndex::kNone);
  if (const auto* rule = std::get_if<TimeSplit>(&contract_.splits())) {
    visit(contract_.fields()[static_cast<std::size_t>(time_field_)].dtype, [&]<typename T>(T*) {
      ensure(times.size() == rows * sizeof(T), "the time column has {} bytes for {} rows", times.size(),
             rows);
      for (std::uint64_t row = 0; row < rows; ++row) {
        T time;
        std::memcpy(&time, times.data() + row * sizeof(T), sizeof(T));
        splits[row] = split_of(time, *rule);
      }
    });
    return splits;
  }
  const auto& rule = std::get<FractionSplit>(contract_.splits());
  const std::vector<double> limits = limits_of(rule);
  for (std::uint64_t row = 0; row < rows; ++row) {
    const std::uint64_t key = random_key(rule.seed, Purpose::kSplit, {partition, first_row + row});
    const double u = static_cast<double>(key >> 11) * 0x1p-53;
    for (std::size_t i = 0; i < limits.size() && splits[row] == RowIndex::kNone; ++i) {
      if (u < limits[i]) splits[row] = static_cast<std::uint8_t>(i);
    }
  }
  return splits;
}

}  // namespace muster
