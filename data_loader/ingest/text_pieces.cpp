#include "data_loader/ingest/text_pieces.h"

#include <fmt/format.h>

#include <span>
#include <utility>

#include "core/error.h"
#include "core/text.h"

namespace muster {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 18;
constexpr std::size_t kMostLine = std::size_t{16} << 20;
constexpr std::size_t kLongestCharacter = 4;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

TextPieces::TextPieces(std::filesystem::path path, const Encoding& encoding)
    : file_(std::move(path)), kind_(encoding.kind) {
  if (kind_ == Encoding::Kind::kOther) encoding_.emplace(encoding.name);
}

void TextPieces::fill() {
  const std::size_t before = buffer_.size();
  buffer_.resize(before + kPiece);
  const std::size_t got = file_.read(std::as_writable_bytes(std::span(buffer_).subspan(before)));
  buffer_.resize(before + got);
  at_end_ = got < kPiece;  // GzipFile fills as far as the file goes
}

void TextPieces::refuse(const std::string& before, const std::string& message) {
  position_.advance(before);
  throw Error(ErrorCode::kData, message,
              fmt::format("{}:{}:{}", file_.path().string(), position_.line, position_.column));
}

std::string TextPieces::next() {
  while (!at_end_ && buffer_.size() < kPiece) fill();
  if (!std::exchange(started_, true) && kind_ != Encoding::Kind::kBytes &&
      buffer_.starts_with(kByteOrderMark))
    buffer_.erase(0, kByteOrderMark.size());
  std::string piece;
  if (kind_ == Encoding::Kind::kBytes) {
    piece = std::exchange(buffer_, {});
  } else {
    piece = kind_ == Encoding::Kind::kUtf8 ? next_utf8() : next_converted();
  }
  position_.advance(piece);
  return piece;
}

std::string TextPieces::next_utf8() {
  const std::size_t good = utf8_prefix(buffer_);
  if (good < buffer_.size() && (at_end_ || buffer_.size() - good >= kLongestCharacter)) {
    refuse(buffer_.substr(0, good),
           fmt::format("{} is no UTF-8 text: `encoding: …` names another encoding, `unit: bytes` takes any",
                       readable_text(std::string_view(buffer_).substr(good, kLongestCharacter))));
  }
  std::string piece = buffer_.substr(0, good);
  buffer_.erase(0, good);
  return piece;
}

/// Up to the end of a line: in every encoding in which ASCII is itself a line's end is no part of a
/// character.
std::string TextPieces::next_converted() {
  std::size_t end = buffer_.rfind('\n');
  while (end == std::string::npos && !at_end_) {
    if (buffer_.size() > kMostLine)
      refuse("", fmt::format("a line is longer than {}: convert the file to UTF-8 first (iconv)",
                             human_bytes(kMostLine)));
    fill();
    end = buffer_.rfind('\n');
  }
  const std::size_t length = at_end_ ? buffer_.size() : end + 1;
  const std::string raw = buffer_.substr(0, length);
  buffer_.erase(0, length);
  std::optional<std::string> piece = encoding_->to_utf8(raw);
  if (piece) return *std::move(piece);
  // The line it is on: lines can be converted one by one.
  std::string before;
  for (const std::string& line : split(raw, '\n')) {
    if (!encoding_->to_utf8(line)) break;
    before += '\n';
  }
  refuse(before, "this line is no text of the encoding");
}

}  // namespace muster
