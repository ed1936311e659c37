#include "data_loader/dataset/column_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace muster {
namespace {

std::vector<std::string> complaints(const std::string& rule, const std::vector<std::byte>& column) {
  const Contract contract = Contract::parse(
      YamlNode::parse("version: 1\nfields: {x: {" + rule + "}}\nsplits: {by: fraction, train: 1}\n", "c"));
  FaultList faults(100);
  check_column(contract.fields()[0], column, 1000, "f.h5", faults);
  std::vector<std::string> lines;
  for (const Error& error : faults.kept()) lines.emplace_back(error.what());
  return lines;
}

template <typename T>
std::vector<std::string> complaints(const std::string& rule, std::vector<T> values) {
  const auto bytes = std::as_bytes(std::span(values));
  return complaints(rule, std::vector<std::byte>(bytes.begin(), bytes.end()));
}

TEST(ColumnCheckTest, NamesRowValueAndRule) {
  using Lines = std::vector<std::string>;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(complaints<float>("dtype: float32, range: [0, 0.1]", {0.0F, 0.1F, -1.5F, 0.2F}),
            (Lines{"f.h5:x[1002]: -1.5 is below the least 'x', 0",
                   "f.h5:x[1003]: 0.2 is above the greatest 'x', 0.1"}));
  EXPECT_EQ(complaints<float>("dtype: float32", {1.0F, kNan}),
            (Lines{"f.h5:x[1001]: NaN, but 'x' forbids missing values (`missing: indicator` takes them)"}));
  EXPECT_EQ(
      complaints<float>("dtype: float32, missing: indicator", {kNan, kInf, 1.0F, -kInf}),
      (Lines{"f.h5:x[1001]: inf, but 'x' must be finite", "f.h5:x[1003]: -inf, but 'x' must be finite"}));
  EXPECT_EQ(complaints<float>("dtype: float32, allowed: [0.1, 0.5], missing: indicator", {0.1F, kNan, 0.3F}),
            (Lines{"f.h5:x[1002]: 0.3 is no allowed 'x' (0.1, 0.5)"}));
  EXPECT_EQ(complaints<double>("dtype: float64, shape: [2]", {1.0, 2.0, 3.0, std::nan("")}),
            (Lines{"f.h5:x[1001]: value 1 of the row: NaN, but 'x' forbids missing values"}));
  EXPECT_EQ(complaints<std::int8_t>("dtype: int8, allowed: [1, 2, 3, 4, 5, 6, 7, 8, 9]", {9, 10}),
            (Lines{"f.h5:x[1001]: 10 is no allowed 'x' (1, 2, 3, 4, 5, 6, 7, 8, …)"}));
  EXPECT_EQ(complaints<std::uint64_t>("dtype: uint64, range: [null, 9007199254740992]", {~0ULL, 1ULL << 53}),
            (Lines{"f.h5:x[1000]: 18446744073709551615 is above the greatest 'x', 9007199254740992"}));
}

TEST(ColumnCheckTest, ExtremesWithoutARangeAreFine) {
  EXPECT_TRUE(complaints<std::int64_t>("dtype: int64", {std::numeric_limits<std::int64_t>::min(),
                                                        std::numeric_limits<std::int64_t>::max()})
                  .empty());
  EXPECT_TRUE(complaints<float>("dtype: float32",
                                {std::numeric_limits<float>::max(), -std::numeric_limits<float>::max(),
                                 std::numeric_limits<float>::denorm_min(), -0.0F})
                  .empty());
}

}  // namespace
}  // namespace muster
