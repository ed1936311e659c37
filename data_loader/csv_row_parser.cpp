#include "data_loader/csv_row_parser.h"

#include <fmt/format.h>

#include "core/text.h"

namespace muster {

CsvRowParser::CsvRowParser(const CsvTable& table) : width_(table.width), fields_(table.spec.dialect) {
  if (table.spec.encoding) encoding_.emplace(*table.spec.encoding);
  for (std::size_t i = 0; i < table.fields.size(); ++i) {
    const Field& field = table.fields[i];
    targets_.push_back({CellParser(field, table.spec.rules_of(field)), table.column_of_field[i],
                        field.value_bytes(), encoding_ && field.is_text(), &field.name});
  }
}

std::string CsvRowParser::parse(std::string_view record, std::span<std::vector<std::byte>> columns,
                                std::uint64_t row) {
  if (!fields_.split(record)) return fields_.fault();
  const auto cells = fields_.fields();
  if (cells.size() != width_) return fmt::format("{} fields, not {}", cells.size(), width_);
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    const Target& target = targets_[i];
    if (target.column >= width_)
      return fmt::format("there is no column {} for '{}'", target.column + 1, *target.name);
    const std::string_view cell = cells[target.column];
    const std::span<std::byte> out(columns[i].data() + row * target.value_bytes, target.value_bytes);
    if (target.convert) {
      if (std::string wrong = parse_converted(target, cell, out); !wrong.empty()) return wrong;
    } else if (!target.parser.parse(cell, out)) {
      return target.parser.fault(cell);
    }
  }
  return "";
}

std::string CsvRowParser::parse_converted(const Target& target, std::string_view cell,
                                          std::span<std::byte> out) {
  const auto text = encoding_->to_utf8(cell);
  if (!text) return fmt::format("{} is no text of the encoding, for '{}'", readable_text(cell), *target.name);
  return target.parser.parse(*text, out) ? "" : target.parser.fault(*text);
}

}  // namespace muster
