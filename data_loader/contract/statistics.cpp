#include "data_loader/contract/statistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <type_traits>

#include "core/error.h"

namespace muster {

namespace {

constexpr std::size_t kLanes = 8;     // independent sums, so that they fit vector registers
constexpr std::size_t kPiece = 2048;  // values whose two passes stay in the first-level cache

using Lanes = std::array<double, kLanes>;

double total(const Lanes& lanes) {
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

/// Mean first, then squared distances from it. Values are not NaN. Sums go in an order that depends on
/// nothing but the number of values.
FieldStatistics two_pass(std::span<const double> values) {
  FieldStatistics result;
  if (values.empty()) return result;
  const std::size_t whole = values.size() / kLanes * kLanes;
  Lanes sum{};
  Lanes low;
  Lanes high;
  low.fill(values[0]);
  high.fill(values[0]);
  const auto look = [&](std::size_t lane, double value) {
    sum[lane] += value;
    low[lane] = std::min(low[lane], value);
    high[lane] = std::max(high[lane], value);
  };
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) look(lane, values[i + lane]);
  }
  for (std::size_t i = whole; i < values.size(); ++i) look(i - whole, values[i]);

  result.count = values.size();
  result.minimum = *std::ranges::min_element(low);
  result.maximum = *std::ranges::max_element(high);
  result.mean = total(sum) / static_cast<double>(values.size());

  Lanes squares{};
  const double mean = result.mean;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double distance = values[i + lane] - mean;
      squares[lane] += distance * distance;
    }
  }
  for (std::size_t i = whole; i < values.size(); ++i) {
    squares[i - whole] += (values[i] - mean) * (values[i] - mean);
  }
  result.m2 = total(squares);
  return result;
}

/// Collects values as doubles and folds full pieces into the statistics so far.
class Accumulator {
 public:
  template <typename T>
  void add(const T* values, std::size_t count) {
    while (count > 0) {
      const std::size_t part = std::min(count, kPiece - filled_);
      for (std::size_t i = 0; i < part; ++i) {
        piece_[filled_] = static_cast<double>(values[i]);
        if constexpr (std::is_floating_point_v<T>) {
          const bool missing = std::isnan(values[i]);
          missing_ += missing ? 1 : 0;
          filled_ += missing ? 0 : 1;
        } else {
          ++filled_;
        }
      }
      values += part;
      count -= part;
      if (filled_ == kPiece) fold();
    }
  }

  FieldStatistics finish() {
    fold();
    result_.missing = missing_;
    return result_;
  }

 private:
  void fold() {
    result_ = FieldStatistics::merge(result_, two_pass({piece_.data(), filled_}));
    filled_ = 0;
  }

  std::array<double, kPiece> piece_;
  std::size_t filled_ = 0;
  std::uint64_t missing_ = 0;
  FieldStatistics result_;
};

}  // namespace

FieldStatistics FieldStatistics::of(DType type, std::span<const std::byte> column, std::size_t values_per_row,
                                    std::span<const std::uint32_t> rows) {
  return visit(type, [&]<typename T>(T*) {
    const std::size_t rows_there = values_per_row == 0 ? 0 : column.size() / sizeof(T) / values_per_row;
    const auto* values = reinterpret_cast<const T*>(column.data());
    Accumulator accumulator;
    for (const std::uint32_t row : rows) {
      ensure(row < rows_there, "row {} of a column of {} rows", row, rows_there);
      accumulator.add(values + row * values_per_row, values_per_row);
    }
    return accumulator.finish();
  });
}

FieldStatistics FieldStatistics::of(std::span<const double> values) {
  Accumulator accumulator;
  accumulator.add(values.data(), values.size());
  return accumulator.finish();
}

FieldStatistics FieldStatistics::merge(const FieldStatistics& left, const FieldStatistics& right) {
  if (left.count == 0 || right.count == 0) {
    FieldStatistics result = left.count == 0 ? right : left;
    result.missing = left.missing + right.missing;
    return result;
  }
  const auto left_count = static_cast<double>(left.count);
  const auto right_count = static_cast<double>(right.count);
  const double distance = right.mean - left.mean;
  const double right_share = right_count / (left_count + right_count);
  FieldStatistics result;
  result.count = left.count + right.count;
  result.missing = left.missing + right.missing;
  result.mean = left.mean + distance * right_share;
  result.m2 = left.m2 + right.m2 + distance * distance * left_count * right_share;
  result.minimum = std::min(left.minimum, right.minimum);
  result.maximum = std::max(left.maximum, right.maximum);
  return result;
}

double FieldStatistics::variance() const { return count < 2 ? 0 : m2 / static_cast<double>(count); }

Json FieldStatistics::to_json() const {
  return {{"count", count}, {"missing", missing}, {"mean", mean},
          {"m2", m2},       {"minimum", minimum}, {"maximum", maximum}};
}

FieldStatistics FieldStatistics::from_json(const Json& json, const std::string& where) {
  FieldStatistics result;
  result.count = member<std::uint64_t>(json, "count", where);
  result.missing = member<std::uint64_t>(json, "missing", where);
  result.mean = member<double>(json, "mean", where);
  result.m2 = member<double>(json, "m2", where);
  result.minimum = member<double>(json, "minimum", where);
  result.maximum = member<double>(json, "maximum", where);
  return result;
}

}  // namespace muster
