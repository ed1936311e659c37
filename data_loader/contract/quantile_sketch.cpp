#include "data_loader/contract/quantile_sketch.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace muster {

QuantileSketch QuantileSketch::of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  QuantileSketch sketch;
  for (const double value : values) {
    if (sketch.entries_.empty() || sketch.entries_.back().value != value)
      sketch.entries_.push_back({value, 0});
    sketch.entries_.back().count += 1;
  }
  sketch.thin_out();
  return sketch;
}

QuantileSketch QuantileSketch::from_entries(std::vector<Entry> entries, bool exact) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    ensure(entries[i].count > 0 && (i == 0 || entries[i - 1].value < entries[i].value),
           "entry {} of a quantile sketch counts nothing or does not ascend", i);
  }
  QuantileSketch sketch;
  sketch.entries_ = std::move(entries);
  sketch.exact_ = exact;
  return sketch;
}

QuantileSketch QuantileSketch::merge(const QuantileSketch& left, const QuantileSketch& right) {
  QuantileSketch result;
  result.exact_ = left.exact_ && right.exact_;
  result.entries_.reserve(left.entries_.size() + right.entries_.size());
  auto a = left.entries_.begin();
  auto b = right.entries_.begin();
  while (a != left.entries_.end() || b != right.entries_.end()) {
    const bool from_left = b == right.entries_.end() || (a != left.entries_.end() && a->value <= b->value);
    const Entry& next = from_left ? *a++ : *b++;
    if (!result.entries_.empty() && result.entries_.back().value == next.value) {
      result.entries_.back().count += next.count;
    } else {
      result.entries_.push_back(next);
    }
  }
  result.thin_out();
  return result;
}

void QuantileSketch::thin_out() {
  if (entries_.size() <= kMost) return;
  exact_ = false;
  constexpr std::uint64_t kKept = kMost / 2;
  const std::uint64_t all = count();
  std::vector<Entry> kept;
  kept.reserve(kKept);
  std::uint64_t seen = 0;
  std::uint64_t pending = 0;
  std::uint64_t next = 1;  // the next rank to keep is next * all / kKept
  for (const Entry& entry : entries_) {
    seen += entry.count;
    pending += entry.count;
    // In 128 bits, as counts times kKept may not fit in 64.
    __extension__ using Wide = unsigned __int128;
    if (static_cast<Wide>(seen) * kKept < static_cast<Wide>(next) * all) continue;
    kept.push_back({entry.value, pending});
    pending = 0;
    next = static_cast<std::uint64_t>(static_cast<Wide>(seen) * kKept / all) + 1;
  }
  entries_ = std::move(kept);
}

std::uint64_t QuantileSketch::count() const {
  std::uint64_t count = 0;
  for (const Entry& entry : entries_) count += entry.count;
  return count;
}

double QuantileSketch::quantile(double share) const {
  if (entries_.empty()) return 0;
  const double wanted = share * static_cast<double>(count());
  std::uint64_t seen = 0;
  for (const Entry& entry : entries_) {
    seen += entry.count;
    if (static_cast<double>(seen) >= wanted) return entry.value;
  }
  return entries_.back().value;
}

double QuantileSketch::mode() const {
  const auto most = std::max_element(entries_.begin(), entries_.end(),
                                     [](const Entry& a, const Entry& b) { return a.count < b.count; });
  return most == entries_.end() ? 0 : most->value;
}

}  // namespace muster
