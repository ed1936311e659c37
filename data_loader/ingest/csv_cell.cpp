#include "data_loader/ingest/csv_cell.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <system_error>

#include "core/text.h"
#include "data_loader/contract/time_format.h"

namespace muster {
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
  constexpr double kExact = 0x1p53;  // from here on the text may have meant a neighbour
  if (!(value >= least && value < beyond) || value != std::floor(value) || std::abs(value) >= kExact)
    return std::nullopt;
  return static_cast<T>(value);
}

/// The value that stands for a missing one in this type.
template <typename T>
T missing_as(const Field& field) {
  return field.missing_value ? static_cast<T>(*field.missing_value) : std::numeric_limits<T>::quiet_NaN();
}

/// Without the blanks around it. Most cells have none.
std::string_view without_plain_blanks(std::string_view text) {
  const auto may_be_blank = [](char c) { return static_cast<unsigned char>(c) <= ' '; };
  return !text.empty() && (may_be_blank(text.front()) || may_be_blank(text.back())) ? trim(text) : text;
}

std::string fault_of_text(const Field& field, std::string_view text) {
  if (text.size() > field.length)
    return fmt::format("{} is longer than the {} bytes of '{}'", readable_text(text), field.length,
                       field.name);
  if (text.find('\0') != std::string_view::npos)
    return fmt::format("{} holds a zero byte, which ends the texts of '{}'", readable_text(text), field.name);
  return "";
}

/// Whether it fits; `out` is filled up with zeros.
bool copy_text(std::string_view text, std::span<std::byte> out) {
  if (text.size() > out.size() || text.find('\0') != std::string_view::npos) return false;
  const auto rest = std::ranges::copy(std::as_bytes(std::span(text)), out.begin()).out;
  std::fill(rest, out.end(), std::byte{0});
  return true;
}

}  // namespace

std::string put_text(const Field& field, std::string_view text, std::span<std::byte> out) {
  return copy_text(text, out) ? "" : fault_of_text(field, text);
}

const double* CellParser::named(std::string_view text) const {
  if (rules_.values.empty()) return nullptr;
  const auto found = rules_.values.find(text);
  return found == rules_.values.end() ? nullptr : &found->second;
}

bool CellParser::is_marker(std::string_view text) const {
  if (!(text.empty() ? empty_is_missing_ : marker_starts_[static_cast<unsigned char>(text.front())]))
    return false;
  return std::ranges::find(rules_.missing, text) != rules_.missing.end() && named(text) == nullptr;
}

bool CellParser::parse_text(std::string_view text, std::span<std::byte> out) const {
  text = without_plain_blanks(text);
  if (!is_marker(text)) return copy_text(text, out);
  return field_->can_be_missing() && copy_text("", out);
}

template <typename T>
std::optional<T> CellParser::value(std::string_view text) const {
  std::optional<double> number;
  if (const double* const meant = named(text)) number = *meant;
  if (takes_times_ && !number) {  // no such text is a number too
    if (const auto time = parse_iso_time(text)) return static_cast<T>(*time);
  }
  if constexpr (std::is_floating_point_v<T>) {
    if (!number) number = read_plain_number(text);
    if (number && std::abs(*number) <= static_cast<double>(std::numeric_limits<T>::max()))
      return static_cast<T>(*number);
  } else {
    if (!number) {
      if (const auto integer = parse_integer<T>(text)) return integer;
      number = read_plain_number(text);  // 3.0, as programs write integers among missing values
    }
    if (number) return whole<T>(*number);
  }
  if (takes_truths_) {
    if (const auto truth = read_truth(text)) return static_cast<T>(*truth);
  }
  return std::nullopt;
}

/// Of a cell that people wrote: times in the spec's format, numbers in its style.
template <typename T>
std::optional<T> CellParser::styled_value(std::string_view text) const {
  if (named(text) != nullptr) return value<T>(text);
  if (!rules_.time_format.empty()) {
    if (const auto time = read_time(text, rules_.time_format)) return whole<T>(static_cast<double>(*time));
  }
  if (takes_times_ && parse_iso_time(text))
    return value<T>(text);  // a blank may separate thousands elsewhere
  const auto plain = plain_number_text(text, rules_.number);
  return plain ? value<T>(*plain) : std::nullopt;
}

template <typename T>
bool CellParser::parse_number(std::string_view text, std::span<std::byte> out) const {
  text = without_plain_blanks(text);
  std::optional<T> result;
  if (is_marker(text)) {
    if (field_->can_be_missing()) result = missing_as<T>(*field_);
  } else if (rules_.above) {
    if (const auto number = styled_ ? styled_value<double>(text) : value<double>(text))
      result = static_cast<T>(*number > *rules_.above ? 1 : 0);
  } else {
    result = styled_ ? styled_value<T>(text) : value<T>(text);
  }
  if (!result) return false;
  std::memcpy(out.data(), &*result, sizeof(T));
  return true;
}

CellParser::CellParser(const Field& field, CellRules rules)
    : field_(&field),
      rules_(std::move(rules)),
      styled_(!rules_.number.plain() || !rules_.time_format.empty()),
      takes_times_(field.takes_times()),
      takes_truths_(field.allowed == std::vector<double>{0, 1}) {
  for (const std::string& marker : rules_.missing) {
    if (marker.empty()) {
      empty_is_missing_ = true;
    } else {
      marker_starts_[static_cast<unsigned char>(marker.front())] = true;
    }
  }
  parse_ = field.is_text()
               ? &CellParser::parse_text
               : visit(field.dtype, []<typename T>(T*) -> Parse { return &CellParser::parse_number<T>; });
}

bool CellParser::is_missing(std::string_view text) const { return is_marker(without_plain_blanks(text)); }

std::string CellParser::fault(std::string_view text) const {
  text = without_plain_blanks(text);
  if (is_marker(text)) return fmt::format("'{}' is missing, which the contract forbids", field_->name);
  if (field_->is_text()) return fault_of_text(*field_, text);
  return fmt::format("{} is no {} for '{}'", readable_text(text), to_string(field_->dtype), field_->name);
}

std::string parse_cell(const Field& field, const CellRules& rules, std::string_view text,
                       std::span<std::byte> out) {
  const CellParser parser(field, rules);
  return parser.parse(text, out) ? "" : parser.fault(text);
}

}  // namespace muster
