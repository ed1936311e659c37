#include "data_loader/ingest/csv_records.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/text.h"

namespace muster {
namespace {

constexpr std::size_t kRoom = std::size_t{1} << 18;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr BytePattern kNewline('\n');
constexpr BytePattern kReturn('\r');

}  // namespace

CsvRecords::CsvRecords(Read read, CsvDialect dialect)
    : read_(std::move(read)), delimiter_(dialect.delimiter), quote_(dialect.quote) {}

/// Reads on, the current record moving to the front of the buffer; false if nothing comes any more.
bool CsvRecords::fill() {
  if (at_end_) return false;
  if (begin_ > 0) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    next_ -= begin_;
    begin_ = 0;
  }
  if (end_ == room_) {
    const std::size_t room = std::max(kRoom, 2 * room_);
    auto larger = std::make_unique_for_overwrite<char[]>(room);
    if (end_ > 0) std::memcpy(larger.get(), buffer_.get(), end_);
    buffer_ = std::move(larger);
    room_ = room;
  }
  const std::size_t got = read_(std::as_writable_bytes(std::span(buffer_.get() + end_, room_ - end_)));
  end_ += got;
  at_end_ = got == 0;
  return !at_end_;
}

/// Where to look on from, behind the quote at `at`; counts the lines of a record that goes over several.
std::size_t CsvRecords::after_quote(std::size_t at) {
  if (!inside_) {
    inside_ = at == begin_ || buffer_[at - 1] == delimiter_;
    return at + 1;
  }
  const std::size_t offset = at - begin_;
  const bool more = at + 1 < end_ || fill();
  at = begin_ + offset;
  inside_ = more && quote_.is(buffer_[at + 1]);  // doubled
  return at + (inside_ ? 2 : 1);
}

/// Finds the length of the record at `begin_`.
void CsvRecords::find_end() {
  inside_ = false;
  for (std::size_t at = begin_;;) {
    const char* const found = find_any(buffer_.get() + at, buffer_.get() + end_, quote_, kNewline, kReturn);
    at = static_cast<std::size_t>(found - buffer_.get());
    length_ = at - begin_;
    if (length_ > kMostRecordBytes) return;
    if (at == end_) {
      if (!fill()) return;
      at = begin_ + length_;
    } else if (quote_.is(*found)) {
      at = after_quote(at);
    } else if (!inside_) {
      return;
    } else {
      next_line_ += kNewline.is(*found) ? 1 : 0;
      ++at;
    }
  }
}

void CsvRecords::pass_line_end() {
  next_ = begin_ + length_;
  if (next_ == end_) return;
  ++next_line_;
  const bool after_return = kReturn.is(buffer_[next_++]);
  if (after_return && (next_ < end_ || fill()) && kNewline.is(buffer_[next_])) ++next_;
}

/// Reads until it is clear whether a byte order mark comes first, and passes it.
void CsvRecords::start() {
  started_ = true;
  const auto seen = [this] { return std::string_view(buffer_.get(), end_); };
  while (seen().size() < kByteOrderMark.size() && kByteOrderMark.starts_with(seen()) && fill()) {
  }
  if (seen().starts_with(kByteOrderMark)) next_ = kByteOrderMark.size();
}

bool CsvRecords::next() {
  if (!started_) start();
  while (!lost_the_rest_) {
    begin_ = next_;
    length_ = 0;
    if (begin_ == end_ && !fill()) return false;
    line_ = next_line_;
    find_end();
    if (length_ > kMostRecordBytes) {
      fault_ =
          fmt::format("a record of more than {}: is a quote never closed?", human_bytes(kMostRecordBytes));
      length_ = 0;
    }
    lost_the_rest_ = inside_ || !fault_.empty();  // where the next record starts is anyone's guess
    if (lost_the_rest_) return true;
    pass_line_end();
    if (length_ > 0) return true;
  }
  return false;
}

}  // namespace muster
