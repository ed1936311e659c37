#include "data_loader/contract/value_conversion.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "core/error.h"

namespace muster {
namespace {

template <typename To, typename From>
std::optional<To> convert(From value, const Field& field) {
  if constexpr (std::is_integral_v<From> && std::is_integral_v<To>) {
    if (!std::in_range<To>(value)) return std::nullopt;
    return static_cast<To>(value);
  } else if constexpr (std::is_integral_v<From>) {
    const To converted = static_cast<To>(value);
    // long double holds 64-bit integers exactly (on x86-64 and where it has 113 bits).
    if (static_cast<long double>(converted) != static_cast<long double>(value)) return std::nullopt;
    return converted;
  } else if constexpr (std::is_integral_v<To>) {
    if (std::isnan(value) && field.missing_value) return static_cast<To>(*field.missing_value);
    const double number = value;
    const bool fits = number >= static_cast<double>(std::numeric_limits<To>::lowest()) &&
                      number < std::ldexp(1.0, std::numeric_limits<To>::digits);
    if (!fits || number != std::floor(number)) return std::nullopt;
    return static_cast<To>(number);
  } else {
    const To converted = static_cast<To>(value);
    if (std::isfinite(value) && !std::isfinite(converted)) return std::nullopt;
    return converted;
  }
}

template <typename From, typename To>
std::optional<std::size_t> convert_all(std::span<const std::byte> in, const Field& field,
                                       std::span<std::byte> out) {
  const std::size_t count = in.size() / sizeof(From);
  for (std::size_t i = 0; i < count; ++i) {
    From value{};
    std::memcpy(&value, in.data() + i * sizeof(From), sizeof(From));
    const std::optional<To> converted = convert<To>(value, field);
    if (!converted) return i;
    std::memcpy(out.data() + i * sizeof(To), &*converted, sizeof(To));
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::size_t> convert_numbers(DType from, std::span<const std::byte> in, const Field& field,
                                           std::span<std::byte> out) {
  ensure(in.size() / size_of(from) == out.size() / size_of(field.dtype), "numbers to other many numbers");
  return visit(from, [&]<typename From>(From*) {
    return visit(field.dtype, [&]<typename To>(To*) { return convert_all<From, To>(in, field, out); });
  });
}

}  // namespace muster
