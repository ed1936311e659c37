#pragma once
// What tests of statistics and of their tree share.

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstdint>
#include <numeric>
#include <vector>

#include "data_loader/contract/statistics.h"

namespace muster::testing {

inline std::vector<std::uint32_t> all_rows(std::size_t rows) {
  std::vector<std::uint32_t> numbers(rows);
  std::iota(numbers.begin(), numbers.end(), 0U);
  return numbers;
}

inline void expect_same_bits(const FieldStatistics& got, const FieldStatistics& want) {
  using Bits = std::array<std::uint64_t, sizeof(FieldStatistics) / sizeof(std::uint64_t)>;
  EXPECT_EQ(std::bit_cast<Bits>(got), std::bit_cast<Bits>(want))
      << got.to_json() << " is not " << want.to_json();
}

}  // namespace muster::testing
