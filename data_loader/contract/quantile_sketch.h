#pragma once
// Quantiles of many values in little memory, mergeable.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace muster {

/// The values themselves with their counts while at most kMost of them differ; beyond that, kMost / 2 of them
/// at evenly spaced ranks, each standing for the values up to it. Every merge that has to thin out moves a
/// rank by at most one part in kMost / 2 of what it holds: along a tree over B blocks a rank is off by at
/// most (log2 B + 1) / (kMost / 2) of all, 0.5 % for 1,000 blocks. A function of the values and of the order
/// of merges alone.
class QuantileSketch {
 public:
  static constexpr std::size_t kMost = 4096;
  struct Entry {
    double value = 0;
    std::uint64_t count = 0;  ///< of values in (previous entry, value]
    bool operator==(const Entry&) const = default;
  };

  QuantileSketch() = default;
  /// None of the values is NaN.
  static QuantileSketch of(std::vector<double> values);
  /// Back from entries(), which it checks: Error{kBug} unless they ascend and count something.
  static QuantileSketch from_entries(std::vector<Entry> entries, bool exact);
  static QuantileSketch merge(const QuantileSketch& left, const QuantileSketch& right);

  std::uint64_t count() const;
  /// Whether every different value is there with its count.
  bool exact() const { return exact_; }
  /// Ascending by value.
  const std::vector<Entry>& entries() const { return entries_; }
  /// The least value that at least `share` in [0, 1] of all values do not exceed (of an empty sketch: 0). No
  /// interpolation: it is one of the values.
  double quantile(double share) const;
  /// The most frequent value, the least of equals; only where exact() (of an empty sketch: 0).
  double mode() const;

 private:
  void thin_out();
  std::vector<Entry> entries_;
  bool exact_ = true;
};

}  // namespace muster
