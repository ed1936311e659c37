#include "data_loader/ingest/text_row.h"

#include <utility>

#include "core/error.h"
#include "core/text.h"
#include "data_loader/dataset/column_check.h"
#include "data_loader/dataset/missing_rows.h"
#include "data_loader/ingest/json_row.h"

namespace muster {

TextRow::TextRow(std::vector<Field> fields, const std::function<CellRules(const Field&)>& rules)
    : fields_(std::move(fields)), bytes_(fields_.size()) {
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    bytes_[i].resize(fields_[i].bytes_per_row());
    columns_.emplace_back(bytes_[i]);
    parsers_.emplace_back(fields_[i], rules(fields_[i]));
  }
}

/// A misspelled member would else be a missing value that nobody notices.
std::string TextRow::absent(const Field& field, const Json& object) const {
  std::vector<std::string> strangers;
  for (const auto& [name, value] : object.items()) {
    const auto same = [&name = name](const Field& known) { return known.name == name; };
    if (std::ranges::none_of(fields_, same)) strangers.push_back(name);
  }
  return fmt::format("'{}' is not there{}; null says that it is missing", field.name,
                     did_you_mean(field.name, strangers));
}

std::string TextRow::take(const Json& object) {
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    const auto found = object.find(fields_[i].name);
    if (found == object.end()) return absent(fields_[i], object);
    if (std::string wrong = put_json_value(fields_[i], *found, bytes_[i]); !wrong.empty()) return wrong;
  }
  return check();
}

std::string TextRow::take(std::span<const std::string_view> cells,
                          std::span<const std::size_t> cell_of_field) {
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    ensure(fields_[i].shape.empty(), "'{}' is an array, and a cell holds one value", fields_[i].name);
    const std::string_view cell = cells[cell_of_field[i]];
    if (!parsers_[i].parse(cell, bytes_[i])) return parsers_[i].fault(cell);
  }
  return check();
}

std::string TextRow::check() const {
  FaultList faults(1);
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    check_column(fields_[i], columns_[i], 0, "", faults);
    if (!faults.empty()) return faults.kept().front().message();
  }
  return "";
}

const Field* TextRow::dropped_for() const {
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    if (fields_[i].missing == Missing::kDrop && missing_rows(fields_[i], columns_[i], 1)[0])
      return &fields_[i];
  }
  return nullptr;
}

}  // namespace muster
