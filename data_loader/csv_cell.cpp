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
std::optional<double> read_number(std::string_view text, char decimal) {
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

std::optional<double> read_truth(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  for (const char* word : {"true", "yes", "t", "y"}) {
    if (lower == word) return 1;
  }
  for (const char* word : {"false", "no", "f", "n"}) {
    if (lower == word) return 0;
  }
  return std::nullopt;
}

namespace {

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
    if (!number) number = read_number(text, rules.decimal);
    if (number && std::abs(*number) <= static_cast<double>(std::numeric_limits<T>::max()))
      return static_cast<T>(*number);
  } else {
    if (!number) {
      if (const auto integer = parse_integer<T>(text)) return integer;
      number = read_number(text, rules.decimal);  // 3.0, as programs write integers among missing values
    }
    if (number) return whole<T>(*number);
  }
  if (field.is_time()) {
    if (const auto time = parse_iso_time(text)) return static_cast<T>(*time);
  }
  if (field.allowed == std::vector<double>{0, 1}) {
    if (const auto truth = read_truth(text)) return static_cast<T>(*truth);
  }
  return std::nullopt;
}

/// The value that stands for a missing one in this type.
template <typename T>
T missing_as(const Field& field) {
  return field.missing_value ? static_cast<T>(*field.missing_value) : std::numeric_limits<T>::quiet_NaN();
}

}  // namespace

std::string put_text(const Field& field, std::string_view text, std::span<std::byte> out) {
  if (text.size() > field.length)
    return fmt::format("{} is longer than the {} bytes of '{}'", readable_text(text), field.length,
                       field.name);
  if (text.find('\0') != std::string_view::npos)
    return fmt::format("{} holds a zero byte, which ends the texts of '{}'", readable_text(text), field.name);
  std::fill(out.begin(), out.end(), std::byte{0});
  std::ranges::copy(std::as_bytes(std::span(text.data(), text.size())), out.begin());
  return "";
}

std::string parse_cell(const Field& field, const CellRules& rules, std::string_view text,
                       std::span<std::byte> out) {
  text = trim(text);
  const bool missing = rules.values.find(text) == rules.values.end() &&
                       std::ranges::find(rules.missing, text) != rules.missing.end();
  if (missing && !field.can_be_missing())
    return fmt::format("'{}' is missing, which the contract forbids", field.name);
  if (field.is_text()) return put_text(field, missing ? std::string_view() : text, out);
  return visit(field.dtype, [&]<typename T>(T*) -> std::string {
    const auto read = [&]() -> std::optional<T> {
      if (missing) return missing_as<T>(field);
      if (!rules.above) return parse_value<T>(field, rules, text);
      const auto number = parse_value<double>(field, rules, text);
      return number ? std::optional<T>(*number > *rules.above ? 1 : 0) : std::nullopt;
    };
    const std::optional<T> value = read();
    if (!value)
      return fmt::format("{} is no {} for '{}'", readable_text(text), to_string(field.dtype), field.name);
    std::memcpy(out.data(), &*value, sizeof(T));
    return "";
  });
}

}  // namespace muster
