#include "trainer/evaluation/score_order.h"

#include <algorithm>
#include <cstring>

#include "trainer/comm/gather.h"

namespace muster {
namespace {

template <typename T>
void sort_by_key(std::vector<T>& items) {
  std::sort(items.begin(), items.end(), [](const T& a, const T& b) { return a.key < b.key; });
}

std::vector<ScoreGroup> merge_equal(std::vector<ScoreGroup> groups) {
  sort_by_key(groups);
  std::vector<ScoreGroup> merged;
  for (const ScoreGroup& group : groups) {
    if (merged.empty() || merged.back().key != group.key) {
      merged.push_back(group);
    } else {
      merged.back().positives += group.positives;
      merged.back().negatives += group.negatives;
    }
  }
  return merged;
}

/// Keys that cut all ranks' sorted items into about equal shares: rank r gets the keys in
/// [cuts[r-1], cuts[r]).
template <typename T>
std::vector<std::uint32_t> choose_cuts(Communicator& comm, std::span<const T> items) {
  constexpr std::size_t kSamples = 256;
  std::vector<std::uint32_t> sample;
  for (std::size_t i = 0; i < std::min(kSamples, items.size()); ++i)
    sample.push_back(items[i * items.size() / std::min(kSamples, items.size())].key);
  std::vector<std::uint32_t> all = gather<std::uint32_t>(comm, "ranking cuts", sample);
  std::sort(all.begin(), all.end());
  std::vector<std::uint32_t> cuts;
  const auto world = static_cast<std::size_t>(comm.size());
  for (std::size_t r = 1; r < world && !all.empty(); ++r) cuts.push_back(all[r * all.size() / world]);
  return cuts;
}

/// Of all ranks' sorted items those with this rank's keys, not sorted.
template <typename T>
std::vector<T> exchange(Communicator& comm, std::span<const T> items) {
  const std::vector<std::uint32_t> cuts = choose_cuts(comm, items);
  std::vector<std::vector<T>> parts(static_cast<std::size_t>(comm.size()));
  for (const T& item : items) {
    const auto owner = std::upper_bound(cuts.begin(), cuts.end(), item.key) - cuts.begin();
    parts[static_cast<std::size_t>(owner)].push_back(item);
  }
  std::vector<std::vector<std::byte>> to;
  for (const auto& part : parts) to.push_back(to_bytes<T>(part));
  std::vector<T> mine;
  for (const auto& bytes : comm.all_to_all("ranking exchange", to)) append_from_bytes<T>(mine, bytes);
  return mine;
}

}  // namespace

std::uint32_t ordered_key(float score) {
  if (score == 0) score = 0;
  std::uint32_t bits = 0;
  std::memcpy(&bits, &score, sizeof bits);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

float score_of(std::uint32_t key) {
  const std::uint32_t bits = (key & 0x80000000U) != 0 ? key & 0x7fffffffU : ~key;
  float score = 0;
  std::memcpy(&score, &bits, sizeof score);
  return score;
}

std::vector<ScoreGroup> sorted_groups(Communicator& comm, std::span<const float> scores,
                                      std::span<const std::uint8_t> positive) {
  std::vector<ScoreGroup> groups;
  groups.reserve(scores.size());
  for (std::size_t i = 0; i < scores.size(); ++i)
    groups.push_back({ordered_key(scores[i]), positive[i] != 0 ? 1U : 0U, positive[i] != 0 ? 0U : 1U});
  groups = merge_equal(std::move(groups));
  return merge_equal(exchange<ScoreGroup>(comm, groups));
}

std::vector<ScoreRow> sorted_rows(Communicator& comm, std::span<const float> scores,
                                  std::span<const std::uint8_t> positive,
                                  std::span<const std::uint64_t> rows) {
  std::vector<ScoreRow> items;
  items.reserve(scores.size());
  for (std::size_t i = 0; i < scores.size(); ++i)
    items.push_back({ordered_key(scores[i]), positive[i] != 0 ? 1U : 0U, rows[i]});
  sort_by_key(items);
  items = exchange<ScoreRow>(comm, items);
  sort_by_key(items);
  return items;
}

}  // namespace muster
