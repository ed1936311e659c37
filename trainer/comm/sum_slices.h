#pragma once
// Which part of a sum each rank adds up. A pure function.

#include <algorithm>
#include <cstddef>
#include <span>

namespace muster {

/// Floats of a cache line: no two ranks write into one.
constexpr std::size_t kFloatsOfALine = 64 / sizeof(float);

/// Floats that are added at a time: they stay in the first cache.
constexpr std::size_t kSumTile = 1024;
/// Floats of one call of what moves a sum: about 0.1 ms.
constexpr std::size_t kSumPiece = std::size_t{64} * 1024;

/// First of `rank`'s values of a sum of `values` over `ranks`; its last is before the next rank's first.
inline std::size_t slice_start(std::size_t values, std::size_t rank, std::size_t ranks) {
  const std::size_t lines = (values + kFloatsOfALine - 1) / kFloatsOfALine;
  return std::min(values, lines * rank / ranks * kFloatsOfALine);
}

/// `rank`'s part of `values`; empty where there are fewer cache lines than ranks.
template <typename T>
std::span<T> slice_of(std::span<T> values, std::size_t rank, std::size_t ranks) {
  const std::size_t start = slice_start(values.size(), rank, ranks);
  return values.subspan(start, slice_start(values.size(), rank + 1, ranks) - start);
}

}  // namespace muster
