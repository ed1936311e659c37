#include "data_loader/ingest/csv_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <utility>

#include "core/error.h"
#include "core/text.h"
#include "data_loader/contract/text_encoding.h"
#include "data_loader/ingest/csv_reader.h"

namespace muster {
namespace {

using Header = std::vector<std::string>;

[[noreturn]] void refuse_column(const CsvSpec& spec, const std::string& message) {
  throw Error(ErrorCode::kConfig, message, spec.file.string());
}

/// The column's number as `columns` gives it where it is no name, 0-based.
std::optional<std::size_t> numbered_column(const CsvSpec& spec, const Header& header,
                                           const std::string& field, const std::string& name) {
  std::size_t number = 0;
  const auto [end, status] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (status != std::errc{} || end != name.data() + name.size() || number == 0) return std::nullopt;
  if (spec.header && number > header.size())
    refuse_column(spec, fmt::format("has {} columns, no number {} for '{}'", header.size(), number, field));
  return number - 1;
}

Header read_header(const CsvSpec& spec, CsvReader& reader) {
  if (!reader.next()) throw Error(ErrorCode::kData, "is empty: it has no header", spec.file.string());
  if (!reader.fault().empty())
    throw Error(ErrorCode::kData, reader.fault(), fmt::format("{}:{}", spec.file.string(), reader.line()));
  return csv_header(spec, reader.fields());
}

}  // namespace

std::size_t csv_column(const CsvSpec& spec, const Header& header, const std::string& field) {
  const auto given = spec.columns.find(field);
  const std::string name = given != spec.columns.end() ? given->second : field;
  const auto found = std::ranges::find(header, name);
  if (found != header.end()) {
    if (std::find(found + 1, header.end(), name) != header.end()) {
      refuse_column(spec, fmt::format("has two columns '{}': say by number which one '{}' is", name, field));
    }
    return static_cast<std::size_t>(found - header.begin());
  }
  if (given != spec.columns.end()) {
    if (const auto number = numbered_column(spec, header, field, name)) return *number;
  }
  if (!spec.header) {
    refuse_column(spec,
                  fmt::format("has no header: `columns: {{{}: 1}}` says which column a field is", field));
  }
  refuse_column(spec, fmt::format("has no column '{}' for the field '{}'{}; it has: {} (`columns: {{{}: …}}` "
                                  "of an ingest spec names another)",
                                  name, field, did_you_mean(name, header), join(header, ", "), field));
}

std::vector<std::string> csv_header(const CsvSpec& spec, std::span<const std::string_view> cells) {
  std::optional<TextEncoding> encoding;
  if (spec.encoding) encoding.emplace(*spec.encoding);
  Header header(cells.begin(), cells.end());
  for (std::string& name : header) {
    name = trim(name);
    if (encoding) name = encoding->to_utf8(name).value_or(name);
    if (utf8_prefix(name) == name.size() && name.find('\0') == std::string::npos) continue;
    throw Error(ErrorCode::kData,
                "its header is no UTF-8 text: is it a CSV file? (`encoding: …` names another encoding)",
                spec.file.string());
  }
  return header;
}

CsvTable CsvTable::open(CsvSpec spec, std::vector<Field> fields) {
  CsvTable table{std::move(spec), std::move(fields), {}, 0};
  GzipFile file(table.spec.file);
  CsvReader reader([&file](std::span<std::byte> out) { return file.read(out); }, table.spec.dialect);
  Header header;
  if (table.spec.header) {
    header = read_header(table.spec, reader);
    table.width = header.size();
  }
  for (const Field& field : table.fields)
    table.column_of_field.push_back(csv_column(table.spec, header, field.name));
  while (table.width == 0 && reader.next()) table.width = reader.fields().size();
  return table;
}

CsvTableRecords::CsvTableRecords(const CsvSpec& spec)
    : dialect_(spec.dialect),
      file_(spec.file),
      records_([this](std::span<std::byte> out) { return file_.read(out); }, spec.dialect) {
  if (spec.header) next();
}

bool CsvTableRecords::next() {
  const bool found = records_.next();
  if (found && records_.lost_the_rest()) refuse_rest();
  return found;
}

void CsvTableRecords::refuse_rest() const {
  std::string fault = records_.fault();
  if (fault.empty()) {
    CsvFields fields(dialect_);
    fields.split(records_.record());
    fault = fields.fault();
  }
  throw Error(ErrorCode::kData, fault, fmt::format("{}:{}", file_.path().string(), records_.line()));
}

}  // namespace muster
