#include "data_loader/dataset/quarantine.h"

#include <algorithm>
#include <iterator>

#include "core/error.h"

namespace muster {

Json BadRows::to_json() const {
  return {{"partition", partition}, {"first_row", first_row}, {"rows", rows}, {"reason", reason}};
}

BadRows BadRows::from_json(const Json& json, const std::string& where) {
  BadRows bad;
  bad.partition = member<std::uint32_t>(json, "partition", where);
  bad.first_row = member<std::uint64_t>(json, "first_row", where);
  bad.rows = member<std::uint64_t>(json, "rows", where);
  bad.reason = member<std::string>(json, "reason", where);
  return bad;
}

bool Quarantine::add(const BadRows& bad) {
  if (bad.rows == 0 || covers(bad.partition, bad.first_row, bad.rows)) return false;
  const std::lock_guard lock(mutex_);
  auto& ranges = by_first_[bad.partition];
  BadRows all = bad;
  // Those that overlap it go up in it.
  auto at = ranges.upper_bound(bad.first_row);
  if (at != ranges.begin()) --at;
  while (at != ranges.end() && at->first < bad.first_row + bad.rows) {
    const BadRows& other = at->second;
    if (other.first_row + other.rows <= bad.first_row) {
      ++at;
      continue;
    }
    const std::uint64_t end = std::max(all.first_row + all.rows, other.first_row + other.rows);
    all.first_row = std::min(all.first_row, other.first_row);
    all.rows = end - all.first_row;
    all.reason = other.reason;
    rows_ -= other.rows;
    --ranges_;
    at = ranges.erase(at);
  }
  rows_ += all.rows;
  ++ranges_;
  ranges.emplace(all.first_row, std::move(all));
  return true;
}

bool Quarantine::covers(std::uint32_t partition, std::uint64_t first_row, std::uint64_t rows) const {
  const std::lock_guard lock(mutex_);
  const auto ranges = by_first_.find(partition);
  if (ranges == by_first_.end()) return false;
  const auto after = ranges->second.upper_bound(first_row);
  if (after == ranges->second.begin()) return false;
  const BadRows& before = std::prev(after)->second;
  // Neighbours that only touch are two; who asks for more than a row asks for a block, which is one.
  return first_row + rows <= before.first_row + before.rows;
}

bool Quarantine::empty() const {
  const std::lock_guard lock(mutex_);
  return by_first_.empty();
}

std::uint64_t Quarantine::rows() const {
  const std::lock_guard lock(mutex_);
  return rows_;
}

std::uint64_t Quarantine::ranges() const {
  const std::lock_guard lock(mutex_);
  return ranges_;
}

Json Quarantine::to_json() const {
  const std::lock_guard lock(mutex_);
  Json list = Json::array();
  for (const auto& partition : by_first_) {
    for (const auto& range : partition.second) list.push_back(range.second.to_json());
  }
  return list;
}

void Quarantine::restore(const Json& json) {
  if (json.is_null()) return;
  for (const Json& entry : json) add(BadRows::from_json(entry, "quarantine"));
}

}  // namespace muster
