#include "data_loader/contract/value_conversion.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <iostream>
#include <limits>
#include <map>
#include <random>

namespace muster {
namespace {

constexpr std::array kNumbers{DType::kInt8,    DType::kInt16,  DType::kInt32,  DType::kInt64,
                              DType::kUInt8,   DType::kUInt16, DType::kUInt32, DType::kUInt64,
                              DType::kFloat32, DType::kFloat64};

Field field_of(DType dtype) {
  Field field;
  field.name = "x";
  field.dtype = dtype;
  return field;
}

template <typename From, typename To>
std::optional<To> converted(From value, const Field& field) {
  To out{};
  const auto bad = convert_numbers(
      [] {
        if constexpr (std::is_same_v<From, float>) return DType::kFloat32;
        if constexpr (std::is_same_v<From, double>) return DType::kFloat64;
        if constexpr (std::is_same_v<From, std::int64_t>) return DType::kInt64;
        return DType::kUInt64;
      }(),
      std::as_bytes(std::span(&value, 1)), field, std::as_writable_bytes(std::span(&out, 1)));
  return bad ? std::nullopt : std::optional(out);
}

TEST(ValueConversion, SaysWhatCannotBeHeld) {
  const auto to_int8 = field_of(DType::kInt8);
  EXPECT_EQ((converted<double, std::int8_t>(-128.0, to_int8)), -128);
  EXPECT_EQ((converted<double, std::int8_t>(128.0, to_int8)), std::nullopt);
  EXPECT_EQ((converted<double, std::int8_t>(0.5, to_int8)), std::nullopt);
  EXPECT_EQ((converted<double, std::int8_t>(std::nan(""), to_int8)), std::nullopt);
  EXPECT_EQ((converted<double, std::int8_t>(std::numeric_limits<double>::infinity(), to_int8)), std::nullopt);
  EXPECT_EQ((converted<double, std::uint64_t>(0x1p64, field_of(DType::kUInt64))), std::nullopt);
  EXPECT_EQ((converted<double, std::uint64_t>(0x1p63, field_of(DType::kUInt64))), std::uint64_t{1} << 63);
  EXPECT_EQ((converted<std::int64_t, std::uint64_t>(-1, field_of(DType::kUInt64))), std::nullopt);
  EXPECT_EQ((converted<double, float>(1e300, field_of(DType::kFloat32))), std::nullopt);
  EXPECT_EQ((converted<double, float>(0.1, field_of(DType::kFloat32))), 0.1F);
  EXPECT_TRUE(std::isnan(*converted<double, float>(std::nan(""), field_of(DType::kFloat32))));
  EXPECT_TRUE(std::isinf(
      *converted<double, float>(-std::numeric_limits<double>::infinity(), field_of(DType::kFloat32))));
  EXPECT_EQ((converted<std::int64_t, float>(16777216, field_of(DType::kFloat32))), 16777216.0F);
  EXPECT_EQ((converted<std::int64_t, float>(16777217, field_of(DType::kFloat32))), std::nullopt);
  EXPECT_EQ((converted<std::int64_t, double>(std::int64_t{1} << 53, field_of(DType::kFloat64))), 0x1p53);
  EXPECT_EQ((converted<std::int64_t, double>((std::int64_t{1} << 53) + 1, field_of(DType::kFloat64))),
            std::nullopt);
  Field marked = to_int8;
  marked.missing_value = -9;
  EXPECT_EQ((converted<double, std::int8_t>(std::nan(""), marked)), -9);
}

/// Integers near every type's bounds, from every type to every other: what comes out is the number that went
/// in, exactly where long double says that it fits.
TEST(ValueConversion, IntegersKeepTheirValueOrAreRefused) {
  std::map<std::string, int> hits;
  std::mt19937_64 generate(7);
  for (const DType from : kNumbers) {
    for (const DType to : kNumbers) {
      visit(from, [&]<typename From>(From*) {
        visit(to, [&]<typename To>(To*) {
          if constexpr (!std::is_integral_v<From> || !std::is_integral_v<To>) {
            return;
          } else {
            for (int i = 0; i < 300; ++i) {
              const std::uint64_t bits = std::uint64_t{generate()};
              From value = static_cast<From>(bits >> (bits % 64));
              if (i % 7 == 0) value = std::numeric_limits<From>::lowest();
              if (i % 7 == 1) value = std::numeric_limits<From>::max();
              To out{};
              const auto bad = convert_numbers(from, std::as_bytes(std::span(&value, 1)), field_of(to),
                                               std::as_writable_bytes(std::span(&out, 1)));
              const auto wide = static_cast<long double>(value);
              const bool fits = wide >= static_cast<long double>(std::numeric_limits<To>::lowest()) &&
                                wide <= static_cast<long double>(std::numeric_limits<To>::max());
              ASSERT_EQ(!bad, fits);
              if (fits) {
                ASSERT_EQ(static_cast<long double>(out), wide);
              }
              ++hits[fits ? "fits" : value < From{0} ? "too small" : "too large"];
            }
          }
        });
      });
    }
  }
  for (const char* edge : {"fits", "too small", "too large"}) {
    std::cout << edge << ": " << hits[edge] << '\n';
    EXPECT_GT(hits[edge], 100) << edge;
  }
}

TEST(ValueConversion, NamesTheFirstOfMany) {
  const std::vector<double> values{1, 2, 3.5, 4, 5.5};
  std::vector<std::byte> out(5 * sizeof(std::int32_t));
  EXPECT_EQ(convert_numbers(DType::kFloat64, std::as_bytes(std::span(values)), field_of(DType::kInt32), out),
            2U);
}

}  // namespace
}  // namespace muster
