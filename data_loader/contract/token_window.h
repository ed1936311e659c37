#pragma once
// Windows over a stream of tokens: which tokens are a row. Pure arithmetic.

#include <cstddef>
#include <cstdint>
#include <span>

namespace muster {

/// Row r of a stream holds the tokens [r × stride, r × stride + length + 1): `length` inputs, and each one's
/// next token. 1 <= stride <= length + 1, so that no token between two windows is left out.
struct TokenWindow {
  std::uint64_t length = 1;
  std::uint64_t stride = 1;

  /// Tokens of one row.
  std::uint64_t width() const { return length + 1; }
  /// Whole windows in a stream of that many tokens.
  std::uint64_t rows(std::uint64_t tokens) const;
  /// Tokens from the first of `rows` windows side by side to the last one's end.
  std::uint64_t span(std::uint64_t rows) const;
  /// Tokens of such a stream that are in no window: those after the last whole one.
  std::uint64_t left_over(std::uint64_t tokens) const;
  /// Rows between two windows that are no neighbours any more: none of one's targets is a target of the
  /// other's. 0 where stride >= length: the one token that such neighbours share is a target only once.
  std::uint64_t rows_between_strangers() const { return (length + stride - 1) / stride - 1; }

  /// Spreads `span(rows)` tokens of `token_bytes` each, which lie at the end of `out`, to `rows` windows that
  /// fill `out`. In place.
  void spread(std::span<std::byte> out, std::uint64_t rows, std::size_t token_bytes) const;

  bool operator==(const TokenWindow&) const = default;
};

}  // namespace muster
