#pragma once
// bfloat16, the upper half of a float32, as numbers travel in it.

#include <bit>
#include <cstdint>

namespace muster {

/// To the nearest one, to even where two are as near (IEEE 754); a NaN stays one, what is too large becomes
/// infinite.
inline std::uint16_t to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = bits + 0x7fffU + ((bits >> 16U) & 1U);
  return static_cast<std::uint16_t>((value == value ? rounded : bits | 0x400000U) >> 16U);
}

inline float from_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

}  // namespace muster
