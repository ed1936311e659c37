// Ingest format "csv": delimited text with a column per field, gzip-compressed or not.
#include <algorithm>
#include <charconv>
#include <optional>

#include "core/text.h"
#include "data_loader/csv_cell.h"
#include "data_loader/csv_reader.h"
#include "data_loader/fault_list.h"
#include "data_loader/gzip_file.h"
#include "data_loader/ingest.h"
#include "data_loader/text_encoding.h"

namespace muster {
namespace {

constexpr std::size_t kShownFaults = 10;

/// One entry of the spec's sources.
struct CsvSpec {
  std::filesystem::path file;
  CsvDialect dialect;
  std::optional<TextEncoding> encoding;  ///< nothing: UTF-8
  bool header = true;
  bool skip_bad_rows = false;
  CellRules rules;
  std::map<std::string, std::map<std::string, double, std::less<>>> values;  ///< by field
  std::map<std::string, std::string> columns;  ///< field to name or number of its column
  std::map<std::string, double> above;         ///< by field
};

char one_character(const YamlNode& node) {
  const std::string text = node.as_string();
  if (text == "tab" || text == "\\t") return '\t';
  if (text.size() != 1 || text[0] == '\n' || text[0] == '\r')
    node.fail_here("one character was expected (or `tab`)");
  return text[0];
}

void refuse_unknown_field(const YamlNode& at, const std::string& name, const std::vector<Field>& fields) {
  std::vector<std::string> names;
  for (const Field& field : fields) names.push_back(field.name);
  if (std::ranges::find(names, name) != names.end()) return;
  at.fail_here(fmt::format("the contract has no field '{}'{}", name, did_you_mean(name, names)));
}

CsvSpec parse_spec(const YamlNode& node, const IngestContext& context) {
  CsvSpec spec;
  spec.file = context.base / node.require("file").as_string();
  if (const YamlNode* delimiter = node.find("delimiter")) spec.dialect.delimiter = one_character(*delimiter);
  if (const YamlNode* quote = node.find("quote")) spec.dialect.quote = one_character(*quote);
  if (const YamlNode* decimal = node.find("decimal")) spec.rules.decimal = one_character(*decimal);
  if (spec.dialect.quote == spec.dialect.delimiter) node.fail_here("delimiter and quote are the same");
  if (const YamlNode* encoding = node.find("encoding")) {
    try {
      spec.encoding.emplace(encoding->as_string());
    } catch (const Error& error) {
      encoding->fail_here(error.message());
    }
  }
  if (const YamlNode* header = node.find("header")) spec.header = header->as_boolean();
  if (const YamlNode* missing = node.find("missing")) {
    spec.rules.missing.clear();
    for (const YamlNode& marker : missing->items()) spec.rules.missing.push_back(marker.as_string());
  }
  if (const YamlNode* bad_rows = node.find("bad_rows")) {
    const std::string rule = bad_rows->as_string();
    if (rule != "refuse" && rule != "skip") bad_rows->fail_here("`refuse` or `skip` was expected");
    spec.skip_bad_rows = rule == "skip";
  }
  if (const YamlNode* columns = node.find("columns")) {
    for (const auto& [field, column] : columns->entries()) {
      refuse_unknown_field(column, field, context.fields);
      spec.columns[field] = column.as_string();
    }
  }
  if (const YamlNode* values = node.find("values")) {
    for (const auto& [field, map] : values->entries()) {
      refuse_unknown_field(map, field, context.fields);
      for (const auto& [text, number] : map.entries()) spec.values[field][text] = number.as_number();
    }
  }
  if (const YamlNode* above = node.find("above")) {
    for (const auto& [field, number] : above->entries()) {
      refuse_unknown_field(number, field, context.fields);
      spec.above[field] = number.as_number();
    }
  }
  node.refuse_unread();  // before a long file is read
  return spec;
}

/// Reads a CSV file twice: first to count its rows and to find the wrong ones, then to hand the good ones on.
class CsvSource : public RowSource {
 public:
  CsvSource(const YamlNode& node, const IngestContext& context)
      : spec_(parse_spec(node, context)), fields_(context.fields), log_(context.log) {
    for (const Field& field : fields_) {
      if (!field.shape.empty())
        node.fail_here(
            fmt::format("'{}' is an array; a column of a CSV file holds one number a row", field.name));
      rules_.push_back(spec_.rules);
      if (const auto found = spec_.values.find(field.name); found != spec_.values.end())
        rules_.back().values = found->second;
      if (const auto found = spec_.above.find(field.name); found != spec_.above.end())
        rules_.back().above = found->second;
    }
    count_rows();
    open();
  }

  std::uint64_t rows() const override { return rows_; }
  const std::vector<Field>& fields() const override { return fields_; }
  std::vector<std::filesystem::path> files() const override { return {spec_.file}; }

  void read(std::uint64_t rows, std::span<std::vector<std::byte>> columns) override {
    for (std::size_t i = 0; i < fields_.size(); ++i) columns[i].resize(rows * fields_[i].value_bytes());
    for (std::uint64_t row = 0; row < rows;) {
      if (!reader_->next())
        throw Error(ErrorCode::kData, "has fewer rows than a moment ago: does somebody write it?",
                    spec_.file.string());
      if (parse_row(columns, row).empty()) ++row;
    }
  }

 private:
  void open() {
    file_.emplace(spec_.file);
    reader_.emplace([this](std::span<std::byte> out) { return file_->read(out); }, spec_.dialect);
    if (spec_.header && !reader_->next())
      throw Error(ErrorCode::kData, "is empty: it has no header", spec_.file.string());
    if (!reader_->fault().empty())
      throw Error(ErrorCode::kData, reader_->fault(),
                  fmt::format("{}:{}", spec_.file.string(), reader_->line()));
    if (spec_.header) {
      header_.assign(reader_->fields().begin(), reader_->fields().end());
      for (std::string& name : header_) {
        name = trim(name);
        if (spec_.encoding) name = spec_.encoding->to_utf8(name).value_or(name);
        if (utf8_prefix(name) == name.size() && name.find('\0') == std::string::npos) continue;
        throw Error(ErrorCode::kData,
                    "its header is no UTF-8 text: is it a CSV file? (`encoding: …` names another encoding)",
                    spec_.file.string());
      }
    }
    column_of_field_.clear();
    for (const Field& field : fields_) column_of_field_.push_back(find_column(field));
  }

  /// 0-based.
  std::size_t find_column(const Field& field) const {
    const auto given = spec_.columns.find(field.name);
    const std::string name = given != spec_.columns.end() ? given->second : field.name;
    const auto found = std::ranges::find(header_, name);
    if (found != header_.end()) {
      if (std::find(found + 1, header_.end(), name) != header_.end())
        refuse_column(fmt::format("has two columns '{}': say by number which one '{}' is", name, field.name));
      return static_cast<std::size_t>(found - header_.begin());
    }
    std::size_t number = 0;
    const auto [end, status] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (status == std::errc{} && end == name.data() + name.size() && number > 0) {
      if (spec_.header && number > header_.size())
        refuse_column(
            fmt::format("has {} columns, no number {} for '{}'", header_.size(), number, field.name));
      return number - 1;
    }
    refuse_column(
        spec_.header
            ? fmt::format(
                  "has no column '{}' for the field '{}'{}; it has: {} (`columns: {{{}: …}}` names another)",
                  name, field.name, did_you_mean(name, header_), join(header_, ", "), field.name)
            : fmt::format("has no header: `columns: {{{}: 1}}` says which column a field is", field.name));
  }

  [[noreturn]] void refuse_column(const std::string& message) const {
    throw Error(ErrorCode::kConfig, message, spec_.file.string());
  }

  /// What is wrong with the reader's record, or "", its values then being in place.
  std::string parse_row(std::span<std::vector<std::byte>> columns, std::uint64_t row) {
    if (!reader_->fault().empty()) return reader_->fault();
    const auto cells = reader_->fields();
    if (width_ == 0) width_ = spec_.header ? header_.size() : cells.size();
    if (cells.size() != width_) return fmt::format("{} fields, not {}", cells.size(), width_);
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      if (column_of_field_[i] >= width_)
        return fmt::format("there is no column {} for '{}'", column_of_field_[i] + 1, fields_[i].name);
      const std::size_t bytes = fields_[i].value_bytes();
      std::string_view cell = cells[column_of_field_[i]];
      std::optional<std::string> converted;
      if (spec_.encoding && fields_[i].is_text()) {
        converted = spec_.encoding->to_utf8(cell);
        if (!converted)
          return fmt::format("{} is no text of the encoding, for '{}'", readable_text(cell), fields_[i].name);
        cell = *converted;
      }
      std::string wrong =
          parse_cell(fields_[i], rules_[i], cell, std::span(columns[i]).subspan(row * bytes, bytes));
      if (!wrong.empty()) return wrong;
    }
    return "";
  }

  void count_rows() {
    open();
    FaultList faults(kShownFaults);
    std::vector<std::vector<std::byte>> one;
    for (const Field& field : fields_) one.emplace_back(field.value_bytes());
    while (reader_->next()) {
      const std::string wrong = parse_row(one, 0);
      if (wrong.empty()) {
        ++rows_;
        continue;
      }
      const Error fault(ErrorCode::kData, wrong, fmt::format("{}:{}", spec_.file.string(), reader_->line()));
      if (reader_->lost_the_rest())
        throw fault;  // `bad_rows: skip` would leave out nobody knows how many rows
      faults.add(fault);
    }
    if (faults.empty()) return;
    for (const Error& fault : faults.kept()) log_(LogLevel::kWarning, fault.what());
    const std::string count =
        fmt::format("{} of {} rows {} wrong", human_count(faults.count()),
                    human_count(rows_ + faults.count()), faults.count() == 1 ? "is" : "are");
    if (spec_.skip_bad_rows) {
      log_(LogLevel::kWarning, fmt::format("{}: {} and left out", spec_.file.string(), count));
      return;
    }
    throw Error(ErrorCode::kData, fmt::format("{}; mend them, or `bad_rows: skip` leaves them out", count),
                spec_.file.string());
  }

  CsvSpec spec_;
  std::vector<Field> fields_;
  LogSink log_;
  std::vector<CellRules> rules_;  ///< per field
  std::vector<std::string> header_;
  std::vector<std::size_t> column_of_field_;
  std::size_t width_ = 0;
  std::uint64_t rows_ = 0;
  std::optional<GzipFile> file_;
  std::optional<CsvReader> reader_;
};

const bool kRegistered =
    ingest_formats().add("csv", {[](const YamlNode& source, const IngestContext& context) {
                                   return std::make_unique<CsvSource>(source, context);
                                 },
                                 "delimited text with a column per field, gzip-compressed or not"});

}  // namespace
}  // namespace muster
