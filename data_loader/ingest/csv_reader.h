#pragma once
// Delimited text, record by record: RFC 4180 and what programs really write.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "data_loader/ingest/csv_fields.h"
#include "data_loader/ingest/csv_records.h"

namespace muster {

/// Splits bytes into records of fields, as CsvRecords and CsvFields say.
class CsvReader {
 public:
  using Read = CsvRecords::Read;

  explicit CsvReader(Read read, CsvDialect dialect = {});

  /// Goes to the next record; false at the end. A record that cannot be split has a fault and no fields.
  bool next();
  /// Of the current record, unquoted; valid until `next`.
  std::span<const std::string_view> fields() const { return fields_.fields(); }
  /// What is wrong with the current record, or "".
  const std::string& fault() const { return fields_.fault(); }
  /// Whether the fault took records after it along: where a quote is never closed nobody knows how many.
  bool lost_the_rest() const { return records_.lost_the_rest(); }
  /// The line, from 1, on which the current record starts.
  std::uint64_t line() const { return records_.line(); }

 private:
  CsvRecords records_;
  CsvFields fields_;
};

}  // namespace muster
