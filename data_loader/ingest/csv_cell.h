#pragma once
// One cell of text to one value of a field.

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data_loader/contract/contract.h"
#include "data_loader/contract/number_style.h"

namespace muster {

/// How texts stand for the values of a field.
struct CellRules {
  std::vector<std::string> missing = {"", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null"};
  std::map<std::string, double, std::less<>> values;  ///< texts that stand for numbers: {"yes": 1, "no": 0}
  NumberStyle number;
  std::string time_format;      ///< of dates and times (read_time), beside ISO 8601; "": none
  std::optional<double> above;  ///< the value is 1 where the number is greater than this, else 0
};

/// 1 of yes, true, t, y, 0 of no, false, f, n, in any case; nothing of other texts.
std::optional<double> read_truth(std::string_view text);

/// Turns texts into the values of one field.
class CellParser {
 public:
  /// Keeps a reference to the field.
  CellParser(const Field& field, CellRules rules);

  /// Writes the value that `text` (blanks around it do not count) stands for into `out`, field.value_bytes()
  /// bytes. A missing marker becomes NaN, the field's missing_value, or an empty text, where the contract
  /// lets it; times also take ISO dates and times (UTC), fields with `allowed: [0, 1]` yes and no, true and
  /// false. False if it stands for none: `fault` then says why. Thread-safe.
  bool parse(std::string_view text, std::span<std::byte> out) const { return (this->*parse_)(text, out); }
  /// What is wrong with a text that `parse` took for no value.
  std::string fault(std::string_view text) const;
  /// Whether it is a missing marker.
  bool is_missing(std::string_view text) const;

 private:
  using Parse = bool (CellParser::*)(std::string_view text, std::span<std::byte> out) const;

  bool is_marker(std::string_view text) const;
  const double* named(std::string_view text) const;
  bool parse_text(std::string_view text, std::span<std::byte> out) const;
  template <typename T>
  bool parse_number(std::string_view text, std::span<std::byte> out) const;
  template <typename T>
  std::optional<T> value(std::string_view text) const;
  template <typename T>
  std::optional<T> styled_value(std::string_view text) const;

  const Field* field_;
  CellRules rules_;
  bool styled_;                            ///< people wrote its numbers or times
  std::array<bool, 256> marker_starts_{};  ///< bytes that a missing marker starts with
  bool empty_is_missing_ = false;
  bool takes_times_;
  bool takes_truths_;
  Parse parse_;
};

/// One cell by CellParser's rules. Returns what is wrong, or "".
std::string parse_cell(const Field& field, const CellRules& rules, std::string_view text,
                       std::span<std::byte> out);

/// Writes a text as it is, "" being a missing one, padded to field.value_bytes(). Returns what is wrong, or
/// "".
std::string put_text(const Field& field, std::string_view text, std::span<std::byte> out);

}  // namespace muster
