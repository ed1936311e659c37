#include "data_loader/csv_cell.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <system_error>

#include "core/text.h"

namespace muster {
namespace {

/// A text as an error message shows it.
std::string shown(std::string_view text) {
  constexpr std::size_t kMost = 40;
  std::string_view start = text.substr(0, kMost);
  const bool readable = utf8_prefix(text) == text.size();
  if (readable) start = start.substr(0, utf8_prefix(start));  // no half character
  std::string result;
  for (const char c : start) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !readable)) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return "'" + result + (text.size() > kMost ? "…'" : "'");
}

std::optional<double> parse_number(std::string_view text, char decimal) {
  if (text.starts_with('+')) text.remove_prefix(1);
  std::string with_point;
  if (decimal != '.' && text.find(decimal) != std::string_view::npos) {
    if (text.find('.') != std::string_view::npos) return std::nullopt;
    with_point = text;
    std::replace(with_point.begin(), with_point.end(), decimal, '.');
    text = with_point;
  }
  double value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

template <typename T>
std::optional<T> parse_integer(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  T value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// A number that an integer type holds without loss.
template <typename T>
std::optional<T> whole(double value) {
  const double least = static_cast<double>(std::numeric_limits<T>::lowest());
  const double beyond = std::ldexp(1.0, std::numeric_limits<T>::digits);
  if (!(value >= least && value < beyond) || value != std::floor(value)) return std::nullopt;
  return static_cast<T>(value);
}

template <typename T>
std::optional<T> parse_value(const Field& field, const CellRules& rules, std::string_view text) {
  const auto named = rules.values.find(text);
  std::optional<double> number;
  if (named != rules.values.end()) number = named->second;
  if constexpr (std::is_floating_point_v<T>) {
    if (!number) number = parse_number(text, rules.decimal);
    if (number && std::abs(*number) <= static_cast<double>(std::numeric_limits<T>::max()))
      return static_cast<T>(*number);
  } else {
    if (!number) {
      if (const auto integer = parse_integer<T>(text)) return integer;
      number = parse_number(text, rules.decimal);  // 3.0, as programs write integers among missing values
    }
    if (number) return whole<T>(*number);
  }
  if (field.role == Role::kTime) {
    if (const auto time = parse_iso_time(text)) return static_cast<T>(*time);
  }
  return std::nullopt;
}

}  // namespace

std::string parse_cell(const Field& field, const CellRules& rules, std::string_view text,
                       std::span<std::byte> out) {
  text = trim(text);
  const bool missing = rules.values.find(text) == rules.values.end() &&
                       std::ranges::find(rules.missing, text) != rules.missing.end();
  if (missing && field.missing == Missing::kForbid)
    return fmt::format("'{}' is missing, which the contract forbids", field.name);
  return visit(field.dtype, [&]<typename T>(T*) -> std::string {
    const std::optional<T> value =
        missing ? std::numeric_limits<T>::quiet_NaN() : parse_value<T>(field, rules, text);
    if (!value) return fmt::format("{} is no {} for '{}'", shown(text), to_string(field.dtype), field.name);
    std::memcpy(out.data(), &*value, sizeof(T));
    return "";
  });
}

}  // namespace muster
