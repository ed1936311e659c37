#include "data_loader/dataset/column_check.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "core/text.h"
#include "data_loader/contract/field_summary.h"

namespace muster {

namespace {

/// A field's rules in its own type.
template <typename T>
struct Rules {
  T minimum = std::numeric_limits<T>::lowest();
  T maximum = std::numeric_limits<T>::max();
  bool missing = false;
  std::optional<T> missing_value;
  std::vector<T> allowed;

  explicit Rules(const Field& field) : missing(field.can_be_missing()) {
    if (field.missing_value) missing_value = static_cast<T>(*field.missing_value);
    if (field.minimum) minimum = static_cast<T>(*field.minimum);
    if (field.maximum) maximum = static_cast<T>(*field.maximum);
    for (const double value : field.allowed) allowed.push_back(static_cast<T>(value));
  }

  bool hold(T value) const {
    if (missing_value && value == *missing_value) return true;
    // NaN is in no range.
    if (!(value >= minimum && value <= maximum)) return missing && std::isnan(static_cast<double>(value));
    return allowed.empty() || std::binary_search(allowed.begin(), allowed.end(), value);
  }
};

template <typename T>
std::string complaint(const Field& field, T value) {
  const double number = static_cast<double>(value);
  if (std::isnan(number)) {
    return fmt::format("NaN, but '{}' forbids missing values{}", field.name,
                       field.role == Role::kFeature && field.shape.empty()
                           ? " (`missing: indicator` takes them)"
                       : field.shape.empty() ? " (`missing: drop` leaves such rows out)"
                                             : "");
  }
  if (std::isinf(number)) return fmt::format("{}, but '{}' must be finite", number, field.name);
  const Rules<T> rules(field);
  if (value < rules.minimum)
    return fmt::format("{} is below the least '{}', {}", value, field.name, *field.minimum);
  if (value > rules.maximum)
    return fmt::format("{} is above the greatest '{}', {}", value, field.name, *field.maximum);
  constexpr std::size_t kShown = 8;
  const std::size_t shown = std::min(field.allowed.size(), kShown);
  return fmt::format(
      "{} is no allowed '{}' ({}{})", value, field.name,
      fmt::join(field.allowed.begin(), field.allowed.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
      shown < field.allowed.size() ? ", …" : "");
}

template <typename T>
void check(const Field& field, std::span<const std::byte> column, std::uint64_t first_row,
           const std::string& file, FaultList& faults) {
  const Rules<T> rules(field);
  const std::uint64_t per_row = field.values_per_row();
  const std::size_t values = column.size() / sizeof(T);
  for (std::size_t i = 0; i < values; ++i) {
    T value;
    std::memcpy(&value, column.data() + i * sizeof(T), sizeof(T));
    if (rules.hold(value)) continue;
    faults.add(field.name, [&] {
      const std::string where = fmt::format("{}:{}[{}]", file, field.location(), first_row + i / per_row);
      const std::string element = per_row == 1 ? "" : fmt::format("value {} of the row: ", i % per_row);
      return Error(ErrorCode::kData, element + complaint(field, value), where);
    });
  }
}

/// At most a few of what is allowed.
std::string shown_texts(const std::vector<std::string>& texts) {
  constexpr std::size_t kShown = 8;
  const std::size_t shown = std::min(texts.size(), kShown);
  return fmt::format("{}{}",
                     fmt::join(texts.begin(), texts.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                     shown < texts.size() ? ", …" : "");
}

std::string complaint_of_text(const Field& field, std::string_view text) {
  if (text.empty()) {
    if (field.can_be_missing()) return "";
    return fmt::format("an empty text, but '{}' forbids missing values (`missing: indicator` takes them)",
                       field.name);
  }
  if (utf8_prefix(text) != text.size())
    return fmt::format("{} is no UTF-8 text; convert '{}' (an ingest spec's `encoding` does)",
                       readable_text(text), field.name);
  if (field.allowed_texts.empty() ||
      std::binary_search(field.allowed_texts.begin(), field.allowed_texts.end(), text))
    return "";
  const std::string known(text);
  return fmt::format("{} is no allowed '{}'{} ({})", readable_text(text), field.name,
                     did_you_mean(known, field.allowed_texts), shown_texts(field.allowed_texts));
}

void check_texts(const Field& field, std::span<const std::byte> column, std::uint64_t first_row,
                 const std::string& file, FaultList& faults) {
  const std::size_t rows = column.size() / field.length;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::string wrong = complaint_of_text(field, text_at(field, column, row));
    if (wrong.empty()) continue;
    faults.add(field.name, [&] {
      return Error(ErrorCode::kData, wrong,
                   fmt::format("{}:{}[{}]", file, field.location(), first_row + row));
    });
  }
}

}  // namespace

void check_column(const Field& field, std::span<const std::byte> column, std::uint64_t first_row,
                  const std::string& file, FaultList& faults) {
  if (field.is_text()) return check_texts(field, column, first_row, file, faults);
  visit(field.dtype, [&]<typename T>(T*) { check<T>(field, column, first_row, file, faults); });
}

}  // namespace muster
