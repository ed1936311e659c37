#pragma once
// How often each text, or each integer as a text, occurs.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster {

/// Exact up to kMost different values; given up beyond, with none kept. Independent of the order of merges.
class ValueCounts {
 public:
  static constexpr std::size_t kMost = 1'000'000;

  void add(std::string_view value, std::uint64_t count = 1);
  void merge(const ValueCounts& other);
  void give_up();
  bool given_up() const { return given_up_; }
  std::size_t distinct() const { return counts_.size(); }
  const std::map<std::string, std::uint64_t, std::less<>>& counts() const { return counts_; }
  /// By (count descending, bytes ascending); at most `most`.
  std::vector<std::pair<std::string, std::uint64_t>> by_count(std::size_t most) const;

 private:
  std::map<std::string, std::uint64_t, std::less<>> counts_;
  bool given_up_ = false;
};

}  // namespace muster
