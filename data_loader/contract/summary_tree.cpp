#include "data_loader/contract/summary_tree.h"

#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <string_view>

#include "core/error.h"

namespace muster {

namespace {

SummaryTree::Summaries merge_all(const SummaryTree::Summaries& left, const SummaryTree::Summaries& right) {
  ensure(left.size() == right.size(), "summaries of {} and of {} fields do not merge", left.size(),
         right.size());
  SummaryTree::Summaries result;
  result.reserve(left.size());
  for (std::size_t i = 0; i < left.size(); ++i) result.push_back(FieldSummary::merge(left[i], right[i]));
  return result;
}

class Writer {
 public:
  template <typename T>
  void put(const T& value) {
    const auto raw = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
  }
  void text(std::string_view text) {
    put(static_cast<std::uint64_t>(text.size()));
    const auto raw = std::as_bytes(std::span(text));
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
  }
  void summary(const FieldSummary& summary) {
    put(summary.numbers);
    put(static_cast<std::uint64_t>(summary.groups.size()));
    for (const FieldStatistics& group : summary.groups) put(group);
    put(static_cast<std::uint64_t>(summary.quantiles ? 1 + (summary.quantiles->exact() ? 1 : 0) : 0));
    if (summary.quantiles) {
      put(static_cast<std::uint64_t>(summary.quantiles->entries().size()));
      for (const QuantileSketch::Entry& entry : summary.quantiles->entries()) put(entry);
    }
    put(static_cast<std::uint64_t>(summary.counts ? 1 + (summary.counts->given_up() ? 1 : 0) : 0));
    if (!summary.counts) return;
    put(static_cast<std::uint64_t>(summary.counts->distinct()));
    for (const auto& [value, count] : summary.counts->counts()) {
      text(value);
      put(count);
    }
  }
  std::vector<std::byte> finish() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  template <typename T>
  T take() {
    ensure(bytes_.size() >= sizeof(T), "serialized summaries end too early");
    T value;
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_ = bytes_.subspan(sizeof(T));
    return value;
  }
  /// A number of things of at least `size` bytes each, which must still be there.
  std::uint64_t count(std::size_t size) {
    const auto count = take<std::uint64_t>();
    ensure(count <= bytes_.size() / size, "serialized summaries end too early");
    return count;
  }
  std::string text() {
    const std::uint64_t size = count(1);
    const std::string text(reinterpret_cast<const char*>(bytes_.data()), size);
    bytes_ = bytes_.subspan(size);
    return text;
  }
  FieldSummary summary() {
    FieldSummary summary;
    summary.numbers = take<FieldStatistics>();
    for (std::uint64_t left = count(sizeof(FieldStatistics)); left > 0; --left)
      summary.groups.push_back(take<FieldStatistics>());
    if (const auto quantiles = take<std::uint64_t>(); quantiles > 0) {
      std::vector<QuantileSketch::Entry> entries;
      for (std::uint64_t left = count(sizeof(QuantileSketch::Entry)); left > 0; --left)
        entries.push_back(take<QuantileSketch::Entry>());
      summary.quantiles = QuantileSketch::from_entries(std::move(entries), quantiles == 2);
    }
    if (const auto counts = take<std::uint64_t>(); counts > 0) {
      summary.counts.emplace();
      for (std::uint64_t left = count(2 * sizeof(std::uint64_t)); left > 0; --left) {
        const std::string value = text();
        summary.counts->add(value, take<std::uint64_t>());
      }
      if (counts == 2) summary.counts->give_up();
    }
    return summary;
  }
  std::size_t left() const { return bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace

void SummaryTree::insert(std::uint32_t level, std::uint32_t index, Summaries node) {
  for (auto sibling = nodes_.find({level, index ^ 1U}); sibling != nodes_.end();
       sibling = nodes_.find({level, index ^ 1U})) {
    node = (index & 1U) != 0 ? merge_all(sibling->second, node) : merge_all(node, sibling->second);
    nodes_.erase(sibling);
    ++level;
    index >>= 1U;
  }
  ensure(nodes_.try_emplace({level, index}, std::move(node)).second,
         "summaries of the same blocks were added twice (level {}, index {})", level, index);
}

void SummaryTree::add(std::uint32_t block, Summaries leaf) { insert(0, block, std::move(leaf)); }

void SummaryTree::absorb(const SummaryTree& other) {
  for (const auto& [place, node] : other.nodes_) insert(place.first, place.second, node);
}

std::vector<std::byte> SummaryTree::serialize() const {
  Writer writer;
  writer.put(static_cast<std::uint64_t>(nodes_.size()));
  for (const auto& [place, node] : nodes_) {
    writer.put(place.first);
    writer.put(place.second);
    writer.put(static_cast<std::uint64_t>(node.size()));
    for (const FieldSummary& field : node) writer.summary(field);
  }
  return writer.finish();
}

SummaryTree SummaryTree::deserialize(std::span<const std::byte> bytes) {
  SummaryTree tree;
  Reader reader(bytes);
  for (auto nodes = reader.take<std::uint64_t>(); nodes > 0; --nodes) {
    const auto level = reader.take<std::uint32_t>();
    const auto index = reader.take<std::uint32_t>();
    Summaries node;
    for (std::uint64_t left = reader.count(sizeof(FieldStatistics)); left > 0; --left)
      node.push_back(reader.summary());
    tree.insert(level, index, std::move(node));
  }
  ensure(reader.left() == 0, "serialized summaries have {} bytes too many", reader.left());
  return tree;
}

SummaryTree::Summaries SummaryTree::root(std::uint32_t blocks) const {
  // The complete sub-trees of [0, blocks) are the set bits of `blocks`; the smallest one is the rightmost.
  ensure(nodes_.size() == static_cast<std::size_t>(std::popcount(blocks)),
         "summaries of {} blocks need {} nodes, there are {}", blocks, std::popcount(blocks), nodes_.size());
  Summaries result;
  bool first = true;
  for (std::uint32_t level = 0; level < 32; ++level) {
    if ((blocks >> level & 1U) == 0) continue;
    const auto node = nodes_.find({level, (blocks >> level) - 1});
    ensure(node != nodes_.end(), "summaries of some blocks of {} are absent", blocks);
    result = first ? node->second : merge_all(node->second, result);
    first = false;
  }
  return result;
}

}  // namespace muster
