#pragma once
// Values that every rank knows of every rank.

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace muster::testing {

/// The same values for all who ask for this rank's.
template <typename T>
std::vector<T> values_of(int rank, std::size_t count) {
  std::mt19937 random(static_cast<std::uint32_t>(rank));
  std::vector<T> values(count);
  for (T& value : values) value = static_cast<T>(random() % 2'000'001) / static_cast<T>(3);
  return values;
}

}  // namespace muster::testing
