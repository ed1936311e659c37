#include "data_loader/ingest/line_reader.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"

namespace muster {

std::optional<std::string_view> LineReader::next() {
  constexpr std::size_t kPiece = std::size_t{1} << 16;
  if (begin_ >= kPiece) {
    buffer_.erase(0, begin_);
    begin_ = 0;
  }
  std::size_t end = buffer_.find('\n', begin_);
  while (end == std::string::npos && !at_end_) {
    const std::size_t before = buffer_.size();
    if (before - begin_ > kMostLineBytes)
      throw Error(ErrorCode::kData, fmt::format("is longer than {}", human_bytes(kMostLineBytes)),
                  fmt::format("line {}", line_ + 1));
    buffer_.resize(before + kPiece);
    const std::size_t got = read_(std::as_writable_bytes(std::span(buffer_).subspan(before)));
    buffer_.resize(before + got);
    at_end_ = got == 0;
    end = buffer_.find('\n', before);
  }
  if (begin_ == buffer_.size()) return std::nullopt;
  ++line_;
  const std::size_t stop = end == std::string::npos ? buffer_.size() : end;
  std::string_view line = std::string_view(buffer_).substr(begin_, stop - begin_);
  begin_ = end == std::string::npos ? stop : end + 1;
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace muster
