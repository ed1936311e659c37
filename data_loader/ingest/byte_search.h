#pragma once
// The first of some bytes in a text, many bytes at a time: distances in delimited text are so short that a
// call of memchr costs more than its search.

#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace muster {

/// A byte to look for.
class BytePattern {
 public:
  explicit constexpr BytePattern(char byte) : byte_(byte), eight_(kOnes * static_cast<unsigned char>(byte)) {}

  constexpr bool is(char byte) const { return byte == byte_; }
  /// Has the top bit of each byte of `word` that is this one, and perhaps of some above the lowest such byte.
  constexpr std::uint64_t marks(std::uint64_t word) const {
    const std::uint64_t other = word ^ eight_;
    return (other - kOnes) & ~other & (kOnes << 7);
  }
#if defined(__SSE2__)
  __m128i marks(__m128i bytes) const { return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte_)); }
#endif

 private:
  static constexpr std::uint64_t kOnes = 0x0101010101010101ULL;
  char byte_;
  std::uint64_t eight_;  ///< the byte, eight times
};

/// The first byte in [from, end) that is one of the patterns'; `end` if none is.
template <typename... Patterns>
inline const char* find_any(const char* from, const char* end, const Patterns&... patterns) {
#if defined(__SSE2__)
  for (; end - from >= 16; from += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    const auto marks = static_cast<unsigned>(_mm_movemask_epi8((patterns.marks(bytes) | ...)));
    if (marks != 0) return from + std::countr_zero(marks);
  }
#endif
  if constexpr (std::endian::native == std::endian::little) {
    for (; end - from >= 8; from += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, from, sizeof(word));
      const std::uint64_t marks = (patterns.marks(word) | ...);
      if (marks != 0) return from + std::countr_zero(marks) / 8;
    }
  }
  while (from != end && !(patterns.is(*from) || ...)) ++from;
  return from;
}

}  // namespace muster
