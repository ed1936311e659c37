#pragma once
// How values are spread, in the buckets that TensorBoard draws.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace muster {

/// Of the finite values among those given. Buckets are TensorFlow's default ones: limits 1e-12 · 1.1^n below
/// 1e20, then the largest double; the same mirrored below 0; and 0. A bucket holds the values from the limit
/// before its own up to, not including, its own. Empty buckets are left out where their neighbour is empty.
struct Histogram {
  std::uint64_t count = 0;  ///< of finite values
  double min = 0;           ///< 0 of none
  double max = 0;
  double sum = 0;
  double sum_squares = 0;
  std::vector<double> limits;  ///< upper ones, ascending; at least one
  std::vector<double> counts;  ///< as many
};

Histogram make_histogram(std::span<const float> values);

struct NamedHistogram {
  std::string name;
  Histogram histogram;
};

}  // namespace muster
