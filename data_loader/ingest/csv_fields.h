#pragma once
// The fields of one record of delimited text.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data_loader/ingest/csv_records.h"

namespace muster {

/// Splits records. Holds what it makes of one until the next. One thread.
class CsvFields {
 public:
  explicit CsvFields(CsvDialect dialect);

  /// Splits a record that stands alone, without its line end. False if it cannot be split: it has a fault
  /// then and no fields.
  bool split(std::string_view record);
  /// Drops the last record's fields for a fault found elsewhere.
  void refuse(std::string fault);

  /// Unquoted; valid until the next call, as long as the record's bytes are.
  std::span<const std::string_view> fields() const { return fields_; }
  /// What is wrong with the record, or "".
  const std::string& fault() const { return fault_; }

 private:
  const char* take_quoted(const char* at, const char* end);
  const char* take_doubled(const char* at, const char* quote, const char* end);

  BytePattern delimiter_;
  BytePattern quote_;
  std::string unquoted_;  ///< texts of fields in which a quote was doubled
  std::vector<std::string_view> fields_;
  std::string fault_;
};

}  // namespace muster
