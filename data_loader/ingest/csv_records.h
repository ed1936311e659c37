#pragma once
// Where records of delimited text begin and end.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "data_loader/ingest/byte_search.h"

namespace muster {

struct CsvDialect {
  char delimiter = ',';
  char quote = '"';  ///< doubled inside a quoted field
};

/// Cuts bytes into records, which end with \n, \r\n or \r (one kind or mixed), the last one with the end of
/// the bytes too; line ends between quotes belong to the record. Lines with nothing on them are passed over;
/// a UTF-8 byte order mark is dropped. Memory: twice the longest record, at least 256 KiB. One thread.
class CsvRecords {
 public:
  /// Fills `out` as far as there are bytes; 0 at their end.
  using Read = std::function<std::size_t(std::span<std::byte> out)>;
  static constexpr std::size_t kMostRecordBytes = std::size_t{16} << 20;

  CsvRecords(Read read, CsvDialect dialect);

  /// Goes to the next record; false at the end. Looks beyond a '\n' never: who writes line by line waits for
  /// an answer to this one.
  bool next();
  /// The current one as it stands, without its line end; empty if it is too long. Valid until `next`.
  std::string_view record() const { return {buffer_.get() + begin_, length_}; }
  /// What is wrong with its size, or "".
  const std::string& fault() const { return fault_; }
  /// Whether it took the records after it along: it is too long, or a quote in it is never closed. It is the
  /// last one then.
  bool lost_the_rest() const { return lost_the_rest_; }
  /// The line, from 1, on which it starts.
  std::uint64_t line() const { return line_; }

 private:
  void start();
  bool fill();
  void find_end();
  std::size_t after_quote(std::size_t at);
  void pass_line_end();

  Read read_;
  char delimiter_;
  BytePattern quote_;
  std::unique_ptr<char[]> buffer_;
  std::size_t room_ = 0;
  std::size_t begin_ = 0;   ///< of the current record, in the buffer
  std::size_t length_ = 0;  ///< of the current record
  std::size_t next_ = 0;    ///< what comes behind it
  std::size_t end_ = 0;     ///< of what was read
  bool started_ = false;
  bool at_end_ = false;  ///< nothing more comes
  bool inside_ = false;  ///< between quotes
  std::uint64_t line_ = 0;
  std::uint64_t next_line_ = 1;
  std::string fault_;
  bool lost_the_rest_ = false;
};

}  // namespace muster
