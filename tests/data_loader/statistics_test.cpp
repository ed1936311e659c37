#include "data_loader/contract/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/error.h"
#include "tests/data_loader/order_cases.h"
#include "tests/data_loader/random_columns.h"
#include "tests/data_loader/statistics_cases.h"

namespace muster {
namespace {

using testing::all_rows;
using testing::column_of;
using testing::expect_same_bits;

/// The textbook's way, in long double.
FieldStatistics plain(const std::vector<double>& values) {
  FieldStatistics result;
  long double sum = 0;
  for (const double value : values) {
    if (std::isnan(value)) {
      ++result.missing;
      continue;
    }
    result.minimum = result.count == 0 ? value : std::min(result.minimum, value);
    result.maximum = result.count == 0 ? value : std::max(result.maximum, value);
    ++result.count;
    sum += value;
  }
  if (result.count == 0) return result;
  const long double mean = sum / result.count;
  long double squares = 0;
  for (const double value : values) {
    if (!std::isnan(value)) squares += (value - mean) * (value - mean);
  }
  result.mean = static_cast<double>(mean);
  result.m2 = static_cast<double>(squares);
  return result;
}

void expect_near(const FieldStatistics& got, const FieldStatistics& want, double scale) {
  EXPECT_EQ(got.count, want.count);
  EXPECT_EQ(got.missing, want.missing);
  EXPECT_EQ(got.minimum, want.minimum);
  EXPECT_EQ(got.maximum, want.maximum);
  EXPECT_NEAR(got.mean, want.mean, 1e-12 * scale);
  EXPECT_NEAR(got.m2, want.m2, 1e-12 * (want.m2 + scale));
}

TEST(FieldStatistics, EqualAPlainComputationForEveryType) {
  RandomStream random(1);
  for (const char* name :
       {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"}) {
    for (const std::size_t rows : {0U, 1U, 7U, 8U, 2048U, 2049U, 5000U}) {
      SCOPED_TRACE(std::string(name) + ", " + std::to_string(rows) + " rows");
      const bool floats = is_float(parse_dtype(name));
      const Contract contract = testing::contract_of(std::string("  x: {dtype: ") + name +
                                                     (floats ? ", missing: indicator}\n" : "}\n"));
      const Field& field = contract.fields()[0];
      const auto column = testing::random_column(field, rows, random);
      std::vector<double> values;
      for (std::size_t i = 0; i < rows; ++i) values.push_back(testing::value_at(field, column, i));
      expect_near(FieldStatistics::of(field.dtype, column, 1, all_rows(rows)), plain(values), 100);
    }
  }
}

TEST(FieldStatistics, TakeOnlyTheNamedRowsOfArrays) {
  const auto column = column_of<std::int16_t>({1, 2, 3, 100, 200, 300, -5, 5, 0});
  const std::uint32_t rows[] = {2, 0};
  const auto got = FieldStatistics::of(DType::kInt16, column, 3, rows);
  expect_near(got, plain({-5, 5, 0, 1, 2, 3}), 1);
  const std::uint32_t beyond[] = {3};
  EXPECT_THROW((void)FieldStatistics::of(DType::kInt16, column, 3, beyond), Error);
}

TEST(FieldStatistics, HoldRowsWiderThanAPiece) {
  RandomStream random(2);
  std::vector<double> values(3 * 5000);
  for (double& value : values) value = random.normal();
  values[4999] = std::numeric_limits<double>::quiet_NaN();
  expect_near(FieldStatistics::of(DType::kFloat64, column_of(values), 5000, all_rows(3)), plain(values), 10);
}

TEST(FieldStatistics, KeepTheirDigitsFarFromZero) {
  RandomStream random(3);
  std::vector<double> values(10000);
  for (double& value : values) value = 1.7e9 + random.uniform();
  const auto got = FieldStatistics::of(DType::kFloat64, column_of(values), 1, all_rows(values.size()));
  const auto want = plain(values);
  EXPECT_NEAR(got.m2 / want.m2, 1, 1e-6);  // squares of values would leave none
  EXPECT_NEAR(got.variance(), 1.0 / 12, 0.01);
}

TEST(FieldStatistics, OfFewValues) {
  EXPECT_EQ(FieldStatistics{}.variance(), 0);
  const std::vector<float> one = {3};
  EXPECT_EQ(FieldStatistics::of(DType::kFloat32, column_of(one), 1, all_rows(1)).variance(), 0);
  const std::vector<float> nans(3, std::nanf(""));
  const auto got = FieldStatistics::of(DType::kFloat32, column_of(nans), 1, all_rows(3));
  EXPECT_EQ(got.count, 0U);
  EXPECT_EQ(got.missing, 3U);
  EXPECT_EQ(got.mean, 0);
}

TEST(FieldStatistics, GoThroughJsonWithTheSameBits) {
  RandomStream random(4);
  for (int i = 0; i < 100; ++i) {
    std::vector<double> values(1 + random.below(20));
    for (double& value : values)
      value = random.normal() * std::pow(10.0, static_cast<double>(random.below(60)) - 30);
    const auto statistics =
        FieldStatistics::of(DType::kFloat64, column_of(values), 1, all_rows(values.size()));
    const Json json = parse_json(canonical(statistics.to_json()), "test");
    expect_same_bits(FieldStatistics::from_json(json, "test"), statistics);
  }
  EXPECT_THROW((void)FieldStatistics::from_json(Json::object(), "test"), Error);
}

}  // namespace
}  // namespace muster
