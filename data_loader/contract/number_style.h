#pragma once
// How people write numbers: 1.234,50 EUR.

#include <optional>
#include <string>
#include <string_view>

namespace muster {

struct NumberStyle {
  char decimal = '.';
  std::string thousands;  ///< between groups of three digits, one character of UTF-8; "": none
  std::string unit;       ///< before or after the number, where it is there at all; "": none

  /// As programs write numbers.
  bool plain() const { return decimal == '.' && thousands.empty() && unit.empty(); }
};

/// Without the blanks around it, no-break ones (U+00A0, U+202F) too.
std::string_view without_blanks(std::string_view text);

/// "1234.50" of "1.234,50 EUR". Nothing if separators are not where they belong; what is left need not be a
/// number.
std::optional<std::string> plain_number_text(std::string_view text, const NumberStyle& style);

/// A finite number as programs write it; a sign + counts. Nothing if `text` is no such number.
std::optional<double> read_plain_number(std::string_view text);

/// The same in a style.
std::optional<double> read_number(std::string_view text, const NumberStyle& style);

}  // namespace muster
