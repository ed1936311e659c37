#pragma once
// The first of some bytes in a text, eight bytes at a time: distances in delimited text are so short that a
// call of memchr costs more than its search.

#include <bit>
#include <cstdint>
#include <cstring>

namespace muster {

/// A byte to look for, eight times.
class BytePattern {
 public:
  explicit constexpr BytePattern(char byte)
      : byte_(byte), eight_(0x0101010101010101ULL * static_cast<unsigned char>(byte)) {}

  constexpr bool is(char byte) const { return byte == byte_; }
  /// The top bit of each byte of `word` that is this one, exactly; other bits are 0.
  constexpr std::uint64_t marks(std::uint64_t word) const {
    constexpr std::uint64_t kLow = 0x7f7f7f7f7f7f7f7fULL;
    const std::uint64_t other = word ^ eight_;
    return ~(((other & kLow) + kLow) | other | kLow);
  }

 private:
  char byte_;
  std::uint64_t eight_;
};

/// The first byte in [from, end) that is one of the patterns'; `end` if none is.
template <typename... Patterns>
inline const char* find_any(const char* from, const char* end, const Patterns&... patterns) {
  while (end - from >= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, from, sizeof(word));
    if (const std::uint64_t marks = (patterns.marks(word) | ...); marks != 0) {
      const int bit =
          std::endian::native == std::endian::little ? std::countr_zero(marks) : std::countl_zero(marks);
      return from + bit / 8;
    }
    from += 8;
  }
  while (from != end && !(patterns.is(*from) || ...)) ++from;
  return from;
}

}  // namespace muster
