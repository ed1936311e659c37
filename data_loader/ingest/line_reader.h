#pragma once
// Bytes to lines, as they come.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace muster {

/// Lines end with \n or \r\n, the last one with the end of the bytes too. Asks for more bytes only when no
/// whole line is left.
class LineReader {
 public:
  /// Fills `out` as far as there are bytes, at least one; 0 at their end.
  using Read = std::function<std::size_t(std::span<std::byte> out)>;
  static constexpr std::size_t kMostLineBytes = std::size_t{16} << 20;

  explicit LineReader(Read read) : read_(std::move(read)) {}

  /// The next line without its end, valid until the next call; nothing at the end. Error{kData} for a line of
  /// more than kMostLineBytes.
  std::optional<std::string_view> next();
  /// The number of that line, from 1.
  std::uint64_t line() const { return line_; }

 private:
  Read read_;
  std::string buffer_;
  std::size_t begin_ = 0;
  bool at_end_ = false;
  std::uint64_t line_ = 0;
};

}  // namespace muster
