#include "data_loader/ingest/csv_row_parser.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.h"

namespace muster {
namespace {

bool is_ascii(const std::string& text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

CsvRowParser::CsvRowParser(const CsvTable& table) : width_(table.width), fields_(table.spec.dialect) {
  if (table.spec.encoding) encoding_.emplace(*table.spec.encoding);
  for (std::size_t i = 0; i < table.fields.size(); ++i) {
    const Field& field = table.fields[i];
    const CellRules rules = table.spec.rules_of(field);
    // Numbers are ASCII in every encoding, what stands around or for them need not be.
    const bool more_than_digits = !rules.values.empty() || !rules.number.plain() ||
                                  !rules.time_format.empty() || !std::ranges::all_of(rules.missing, is_ascii);
    targets_.push_back({CellParser(field, rules), table.column_of_field[i], field.value_bytes(),
                        encoding_ && (field.is_text() || more_than_digits), &field.name});
  }
}

std::optional<RowFault> CsvRowParser::parse(std::string_view record,
                                            std::span<std::vector<std::byte>> columns, std::uint64_t row) {
  if (!fields_.split(record)) return RowFault{"quotes", fields_.fault()};
  const auto cells = fields_.fields();
  if (cells.size() != width_)
    return RowFault{"fields", fmt::format("{} fields, not {}", cells.size(), width_)};
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    const Target& target = targets_[i];
    if (target.column >= width_)
      return RowFault{"fields",
                      fmt::format("there is no column {} for '{}'", target.column + 1, *target.name)};
    const std::span<std::byte> out(columns[i].data() + row * target.value_bytes, target.value_bytes);
    if (auto fault = parse_cell(target, cells[target.column], out)) return fault;
  }
  return std::nullopt;
}

std::optional<RowFault> CsvRowParser::parse_cell(const Target& target, std::string_view cell,
                                                 std::span<std::byte> out) {
  std::optional<std::string> text;
  if (target.convert) {
    text = encoding_->to_utf8(cell);
    if (!text)
      return RowFault{"encoding of " + *target.name, fmt::format("{} is no text of the encoding, for '{}'",
                                                                 readable_text(cell), *target.name)};
    cell = *text;
  }
  if (target.parser.parse(cell, out)) return std::nullopt;
  return RowFault{(target.parser.is_missing(cell) ? "missing " : "value of ") + *target.name,
                  target.parser.fault(cell)};
}

}  // namespace muster
