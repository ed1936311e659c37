#pragma once
// A CSV file as an ingest spec describes it: which columns the fields take, and its records below the header.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data_loader/ingest/csv_records.h"
#include "data_loader/ingest/csv_spec.h"
#include "data_loader/ingest/gzip_file.h"

namespace muster {

struct CsvTable {
  CsvSpec spec;
  std::vector<Field> fields;                 ///< that the file shall give
  std::vector<std::size_t> column_of_field;  ///< 0-based; may be beyond the width where there is no header
  std::size_t width = 0;  ///< fields of a record, as the header has them, or the first record that is one

  /// Reads the start of the file. Error{kConfig} for columns that are not there, Error{kData} for a header
  /// that is none, Error{kStorage} if it cannot be read.
  static CsvTable open(CsvSpec spec, std::vector<Field> fields);
};

/// The column of a field, from 0, by its name in the header or as `columns` of the spec says; Error{kConfig}
/// if there is none. Without a header it may be beyond the width.
std::size_t csv_column(const CsvSpec& spec, const std::vector<std::string>& header, const std::string& field);

/// Names as the file's encoding has them, without blanks around. Error{kData} if they are no texts.
std::vector<std::string> csv_header(const CsvSpec& spec, std::span<const std::string_view> cells);

/// Reads the records below the header, front to back. One thread.
class CsvTableRecords {
 public:
  explicit CsvTableRecords(const CsvSpec& spec);
  CsvTableRecords(const CsvTableRecords&) = delete;
  CsvTableRecords& operator=(const CsvTableRecords&) = delete;

  /// Goes to the next record; false at the end. Error{kData} with file:line for one that takes the rest of
  /// the file along, and for damaged gzip.
  bool next();
  /// Without its line end; valid until `next`.
  std::string_view record() const { return records_.record(); }
  /// The line, from 1, on which it starts.
  std::uint64_t line() const { return records_.line(); }

 private:
  [[noreturn]] void refuse_rest() const;

  CsvDialect dialect_;
  GzipFile file_;
  CsvRecords records_;
};

}  // namespace muster
