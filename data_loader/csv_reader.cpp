#include "data_loader/csv_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/text.h"

namespace muster {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 18;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr auto kNone = std::string_view::npos;

}  // namespace

CsvReader::CsvReader(Read read, CsvDialect dialect) : read_(std::move(read)), dialect_(dialect) {}

/// Reads on until `wanted` bytes are left to look at, or none come any more; how many are left.
std::size_t CsvReader::fill(std::size_t wanted) {
  while (buffer_.size() - begin_ < wanted && !at_end_) {
    const std::size_t before = buffer_.size();
    buffer_.resize(before + kPiece);
    const std::size_t got = read_(std::as_writable_bytes(std::span(buffer_).subspan(before)));
    buffer_.resize(before + got);
    at_end_ = got == 0;
  }
  return buffer_.size() - begin_;
}

/// Length of the record at `begin_`, without its line end.
std::size_t CsvReader::record_length() {
  std::size_t end = left().find('\n');
  while (end == kNone && !at_end_ && left().size() <= kMostRecordBytes) {
    const std::size_t looked_at = left().size();
    fill(looked_at + 1);
    end = left().find('\n', looked_at);
  }
  const std::string_view line = left().substr(0, end);
  if (line.find(dialect_.quote) != kNone) return quoted_record_length();
  return std::min(line.find('\r'), line.size());
}

/// The same where line ends may stand between quotes; counts the lines of the record.
std::size_t CsvReader::quoted_record_length() {
  bool field_starts = true;
  bool inside = false;
  std::size_t at = 0;
  for (; at <= kMostRecordBytes && fill(at + 1) > at; ++at) {
    const char c = left()[at];
    if (inside) {
      if (c == '\n') ++next_line_;
      if (c != dialect_.quote) continue;
      const bool doubled = fill(at + 2) > at + 1 && left()[at + 1] == dialect_.quote;
      inside = doubled;
      at += doubled ? 1 : 0;
      continue;
    }
    if (c == '\n' || c == '\r') break;
    inside = field_starts && c == dialect_.quote;
    field_starts = c == dialect_.delimiter;
  }
  return at;
}

/// Looks beyond a '\n' never: who writes line by line waits for an answer to this one.
void CsvReader::pass_line_end() {
  if (fill(1) == 0) return;
  if (left().front() == '\r') fill(2);
  begin_ += left().starts_with("\r\n") ? 2 : 1;
  ++next_line_;
}

bool CsvReader::next() {
  fields_.clear();
  fault_.clear();
  if (!started_ && fill(kByteOrderMark.size()) > 0 && left().starts_with(kByteOrderMark))
    begin_ = kByteOrderMark.size();
  started_ = true;
  while (fill(1) > 0) {
    if (begin_ >= kPiece) {
      buffer_.erase(0, begin_);
      begin_ = 0;
    }
    line_ = next_line_;
    const std::size_t length = record_length();
    const std::size_t start = begin_;
    if (length > kMostRecordBytes) {
      fault_ =
          fmt::format("a record of more than {}: is a quote never closed?", human_bytes(kMostRecordBytes));
      begin_ = buffer_.size();
      at_end_ = lost_the_rest_ = true;  // where the next record starts is anyone's guess
      return true;
    }
    begin_ += length;
    pass_line_end();
    if (length == 0) continue;
    split(std::string_view(buffer_).substr(start, length));
    return true;
  }
  return false;
}

void CsvReader::split(std::string_view record) {
  unquoted_.clear();
  unquoted_.reserve(record.size());  // so that what points into it stays
  std::string_view rest = record;
  while (fault_.empty()) {
    if (rest.starts_with(dialect_.quote)) {
      fields_.push_back(take_quoted(rest));
    } else {
      const std::size_t length = std::min(rest.find(dialect_.delimiter), rest.size());
      fields_.push_back(rest.substr(0, length));
      rest.remove_prefix(length);
    }
    if (!fault_.empty()) break;
    if (rest.empty()) return;
    if (rest.front() != dialect_.delimiter) {
      fault_ = fmt::format("field {} goes on after its closing quote", fields_.size());
      break;
    }
    rest.remove_prefix(1);
  }
  fields_.clear();
}

/// The text between the quotes that `rest` starts with; `rest` then starts behind them.
std::string_view CsvReader::take_quoted(std::string_view& rest) {
  const std::size_t from = unquoted_.size();
  std::size_t at = 1;
  while (true) {
    const std::size_t quote = rest.find(dialect_.quote, at);
    if (quote == kNone) {
      fault_ = fmt::format("the quote that field {} starts with is never closed", fields_.size() + 1);
      lost_the_rest_ = true;
      rest = {};
      return {};
    }
    const bool doubled = rest.substr(quote + 1).starts_with(dialect_.quote);
    if (!doubled && unquoted_.size() == from) {  // the usual case: nothing to take out
      const std::string_view text = rest.substr(at, quote - at);
      rest.remove_prefix(quote + 1);
      return text;
    }
    unquoted_.append(rest.substr(at, quote - at + (doubled ? 1 : 0)));
    at = quote + (doubled ? 2 : 1);
    if (doubled) continue;
    rest.remove_prefix(at);
    return std::string_view(unquoted_).substr(from);
  }
}

}  // namespace muster
