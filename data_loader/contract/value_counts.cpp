#include "data_loader/contract/value_counts.h"

#include <algorithm>

namespace muster {

void ValueCounts::add(std::string_view value, std::uint64_t count) {
  if (given_up_ || count == 0) return;
  const auto place = counts_.lower_bound(value);
  if (place != counts_.end() && place->first == value) {
    place->second += count;
    return;
  }
  counts_.emplace_hint(place, value, count);
  if (counts_.size() > kMost) give_up();
}

void ValueCounts::merge(const ValueCounts& other) {
  if (other.given_up_) give_up();
  for (const auto& [value, count] : other.counts_) add(value, count);
}

void ValueCounts::give_up() {
  given_up_ = true;
  counts_.clear();
}

std::vector<std::pair<std::string, std::uint64_t>> ValueCounts::by_count(std::size_t most) const {
  std::vector<std::pair<std::string, std::uint64_t>> sorted(counts_.begin(), counts_.end());
  const auto wanted = sorted.begin() + static_cast<std::ptrdiff_t>(std::min(most, sorted.size()));
  std::partial_sort(sorted.begin(), wanted, sorted.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  sorted.erase(wanted, sorted.end());
  return sorted;
}

}  // namespace muster
