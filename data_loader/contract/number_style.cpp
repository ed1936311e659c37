#include "data_loader/contract/number_style.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>

#include "core/text.h"

namespace muster {
namespace {

/// Digits with or without a point, few enough that digits and power of ten are doubles without loss: one
/// division then rounds as exactly as any reader can (W. D. Clinger, "How to read floating point numbers
/// accurately", 1990), in half of from_chars' time.
std::optional<double> plain_number(std::string_view text) {
  constexpr std::array<double, 16> kTens = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                            1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (text.size() > kTens.size()) return std::nullopt;
  std::int64_t digits = 0;
  std::size_t point = text.size();
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = static_cast<unsigned char>(text[i] - '0');
    if (digit <= 9) {
      digits = digits * 10 + digit;
    } else if (text[i] == '.' && point == text.size()) {
      point = i;
    } else {
      return std::nullopt;
    }
  }
  const std::size_t decimals = point == text.size() ? 0 : text.size() - point - 1;
  const std::size_t count = text.size() - (point == text.size() ? 0 : 1);
  if (count == 0 || count >= kTens.size()) return std::nullopt;  // 15 digits are below 2^53
  const double value = static_cast<double>(digits) / kTens[decimals];
  return negative ? -value : value;
}

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

/// The digits of "1.234.567"; nothing if a group is too short or too long.
std::optional<std::string> without_separators(std::string_view whole, const std::string& separator) {
  std::string digits;
  for (bool first = true; true; first = false) {
    const std::size_t end = whole.find(separator);
    const std::string_view group = whole.substr(0, end);
    const bool only = first && end == std::string_view::npos;
    if (only) return std::string(whole);
    if (first && group.starts_with('0')) return std::nullopt;  // 0,123 is no thousand
    if (!all_digits(group) || group.size() > 3 || (!first && group.size() != 3)) return std::nullopt;
    digits += group;
    if (end == std::string_view::npos) return digits;
    whole.remove_prefix(end + separator.size());
  }
}

}  // namespace

std::string_view without_blanks(std::string_view text) {
  while (true) {
    const std::size_t before = text.size();
    text = trim(text);
    for (const std::string_view blank : {"\u00a0", "\u202f"}) {
      if (text.starts_with(blank)) text.remove_prefix(blank.size());
      if (text.ends_with(blank)) text.remove_suffix(blank.size());
    }
    if (text.size() == before) return text;
  }
}

std::optional<double> read_plain_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  if (const auto value = plain_number(text)) return value;
  double value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<std::string> plain_number_text(std::string_view text, const NumberStyle& style) {
  text = without_blanks(text);
  std::string result;
  const auto take_sign = [&] {
    if (!result.empty() || !(text.starts_with('-') || text.starts_with('+'))) return;
    result = text.front();
    text = without_blanks(text.substr(1));
  };
  take_sign();
  if (!style.unit.empty() && text.ends_with(style.unit)) {
    text = without_blanks(text.substr(0, text.size() - style.unit.size()));
  } else if (!style.unit.empty() && text.starts_with(style.unit)) {
    text = without_blanks(text.substr(style.unit.size()));
    take_sign();
  }
  const std::size_t whole_end = text.find_first_of(std::string{style.decimal, 'e', 'E'});
  std::string_view whole = text.substr(0, whole_end);
  if (style.thousands.empty()) {
    result += whole;
  } else {
    const auto digits = without_separators(whole, style.thousands);
    if (!digits) return std::nullopt;
    result += *digits;
  }
  if (style.decimal != '.' && result.find('.') != std::string::npos) return std::nullopt;
  if (whole_end == std::string_view::npos) return result;
  std::string rest(text.substr(whole_end));
  if (style.decimal != '.' && rest.find('.') != std::string::npos) return std::nullopt;
  if (rest.front() == style.decimal) rest.front() = '.';
  return result + rest;
}

std::optional<double> read_number(std::string_view text, const NumberStyle& style) {
  if (style.plain()) return read_plain_number(text);
  const auto plain = plain_number_text(text, style);
  return plain ? read_plain_number(*plain) : std::nullopt;
}

}  // namespace muster
