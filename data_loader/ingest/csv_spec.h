#pragma once
// What an ingest spec says about one CSV file.

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "core/yaml.h"
#include "data_loader/ingest/csv_cell.h"
#include "data_loader/ingest/csv_records.h"
#include "data_loader/ingest/ingest.h"

namespace muster {

/// One entry of the spec's sources.
struct CsvSpec {
  std::filesystem::path file;
  CsvDialect dialect;
  std::optional<std::string> encoding;  ///< one that TextEncoding knows; nothing: UTF-8
  bool header = true;
  bool skip_bad_rows = false;
  bool repeated_is_bad = false;  ///< rows that repeat an earlier one of the file are wrong rows
  bool outside_is_bad = false;   ///< so are rows that the contract's ranges and lists refuse
  CellRules rules;
  std::map<std::string, std::map<std::string, double, std::less<>>> values;  ///< by field
  std::map<std::string, std::string> columns;       ///< field to name or number of its column
  std::map<std::string, double> above;              ///< by field
  std::map<std::string, std::string> units;         ///< by field: NumberStyle::unit
  std::map<std::string, std::string> time_formats;  ///< by field

  /// Error{kConfig} with file:line:column for what it cannot be.
  static CsvSpec parse(const YamlNode& node, const IngestContext& context);
  /// Of an ingest spec with one source, of format csv: how it reads lines that come from elsewhere. Its
  /// contract is not looked at, `contract` is. Error{kConfig} as parse.
  static CsvSpec of_ingest_spec(const std::filesystem::path& file, const Contract& contract);
  /// How texts stand for the values of this field.
  CellRules rules_of(const Field& field) const;
};

}  // namespace muster
