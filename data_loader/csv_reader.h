#pragma once
// Delimited text, record by record: RFC 4180 and what programs really write.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

struct CsvDialect {
  char delimiter = ',';
  char quote = '"';  ///< doubled inside a quoted field
};

/// Splits bytes into records of fields. Records end with \n, \r\n or \r (one kind or mixed), the last one
/// with the end of the bytes too; lines with nothing on them are passed over; a UTF-8 byte order mark is
/// dropped. Memory: one record and 256 KiB.
class CsvReader {
 public:
  /// Fills `out` as far as there are bytes; 0 at their end.
  using Read = std::function<std::size_t(std::span<std::byte> out)>;
  static constexpr std::size_t kMostRecordBytes = std::size_t{16} << 20;

  explicit CsvReader(Read read, CsvDialect dialect = {});

  /// Goes to the next record; false at the end. A record that cannot be split has a fault and no fields.
  bool next();
  /// Of the current record, unquoted; valid until `next`.
  std::span<const std::string_view> fields() const { return fields_; }
  /// What is wrong with the current record, or "".
  const std::string& fault() const { return fault_; }
  /// Whether the fault took records after it along: where a quote is never closed nobody knows how many.
  bool lost_the_rest() const { return lost_the_rest_; }
  /// The line, from 1, on which the current record starts.
  std::uint64_t line() const { return line_; }

 private:
  std::string_view left() const { return std::string_view(buffer_).substr(begin_); }
  std::size_t fill(std::size_t wanted);
  std::size_t record_length();
  std::size_t quoted_record_length();
  void pass_line_end();
  void split(std::string_view record);
  std::string_view take_quoted(std::string_view& rest);

  Read read_;
  CsvDialect dialect_;
  std::string buffer_;
  std::size_t begin_ = 0;
  bool at_end_ = false;
  bool started_ = false;
  std::uint64_t line_ = 0;
  std::uint64_t next_line_ = 1;
  std::string unquoted_;  ///< texts of fields in which a quote was doubled
  std::vector<std::string_view> fields_;
  std::string fault_;
  bool lost_the_rest_ = false;
};

}  // namespace muster
