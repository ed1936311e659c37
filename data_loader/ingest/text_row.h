#pragma once
// One row of a contract's fields from a line of text, checked by the contract.

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "data_loader/contract/contract.h"
#include "data_loader/ingest/csv_cell.h"

namespace muster {

/// Holds the columns of one row. Used by one thread.
class TextRow {
 public:
  /// `rules`: how cells stand for the values of a field.
  explicit TextRow(
      std::vector<Field> fields,
      const std::function<CellRules(const Field&)>& rules = [](const Field&) { return CellRules{}; });
  TextRow(const TextRow&) = delete;
  TextRow& operator=(const TextRow&) = delete;
  TextRow(TextRow&&) = default;
  TextRow& operator=(TextRow&&) = default;

  const std::vector<Field>& fields() const { return fields_; }
  /// Takes the row from an object's members, by name (what is absent is missing; others are passed over), or
  /// from cells: field i from cells[cell_of_field[i]], by the rules of CellParser. Returns what breaks the
  /// contract, naming the field, or "": the columns then hold the row.
  std::string take(const Json& object);
  std::string take(std::span<const std::string_view> cells, std::span<const std::size_t> cell_of_field);

  /// One row of each field, aligned for any dtype.
  const std::vector<std::span<const std::byte>>& columns() const { return columns_; }
  /// The first field that misses its value where the contract says `missing: drop`; nullptr if none does.
  const Field* dropped_for() const;

 private:
  std::string absent(const Field& field, const Json& object) const;
  std::string check() const;
  std::vector<Field> fields_;
  std::vector<CellParser> parsers_;  ///< per field
  std::vector<std::vector<std::byte>> bytes_;
  std::vector<std::span<const std::byte>> columns_;
};

}  // namespace muster
