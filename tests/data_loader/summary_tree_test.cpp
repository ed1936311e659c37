#include "data_loader/contract/summary_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "core/error.h"
#include "tests/data_loader/order_cases.h"
#include "tests/data_loader/random_columns.h"
#include "tests/data_loader/statistics_cases.h"

namespace muster {
namespace {

using testing::all_rows;
using testing::column_of;
using testing::expect_same_bits;

/// Blocks of two fields with random values, empty ones among them.
struct TreeCase {
  std::vector<SummaryTree::Summaries> leaves;
  std::vector<double> values[2];
  std::map<std::string, std::uint64_t> counts;
};

Field number_field() {
  Field field;
  field.name = "x";
  field.dtype = DType::kFloat64;
  return field;
}

Field category_field() {
  Field field;
  field.name = "c";
  field.dtype = DType::kInt8;
  return field;
}

TreeCase random_tree(RandomStream& random, std::uint32_t blocks) {
  TreeCase result;
  for (std::uint32_t block = 0; block < blocks; ++block) {
    const std::size_t rows = random.below(4) == 0 ? 0 : random.below(40);
    SummaryTree::Summaries leaf;
    for (auto& values : result.values) {
      std::vector<double> here(rows);
      for (double& value : here) {
        value = random.below(10) == 0 ? std::numeric_limits<double>::quiet_NaN() : 5 + 3 * random.normal();
      }
      values.insert(values.end(), here.begin(), here.end());
      leaf.push_back(FieldSummary::of(number_field(), {.quantiles = true}, column_of(here), all_rows(rows)));
    }
    std::vector<std::int8_t> categories(rows);
    for (std::int8_t& category : categories) category = static_cast<std::int8_t>(random.below(6)) - 3;
    for (const std::int8_t category : categories) ++result.counts[std::to_string(category)];
    leaf.push_back(
        FieldSummary::of(category_field(), {.counts = true}, column_of(categories), all_rows(rows)));
    const bool empty = rows == 0 && random.below(2) == 0;
    if (empty) leaf = SummaryTree::Summaries(3);  // as blocks without rows come
    result.leaves.push_back(std::move(leaf));
  }
  return result;
}

TEST(SummaryTree, RootHasTheSameBitsWhoeverHeldWhichBlocks) {
  RandomStream random(5);
  testing::Edges edges;
  for (int i = 0; i < testing::case_count() / 2; ++i) {
    SCOPED_TRACE(i);
    const auto blocks =
        static_cast<std::uint32_t>(random.below(5) == 0 ? 1 + random.below(3) : 1 + random.below(70));
    const TreeCase it = random_tree(random, blocks);
    SummaryTree alone;
    for (std::uint32_t block = 0; block < blocks; ++block) alone.add(block, it.leaves[block]);
    const auto want = alone.root(blocks);

    const std::uint64_t ranks = 1 + random.below(9);
    const bool runs = random.below(2) == 0;
    std::vector<SummaryTree> trees(ranks);
    std::vector<std::uint32_t> held(ranks);
    std::vector<std::uint32_t> order = all_rows(blocks);
    shuffle(std::span(order), random());
    for (const std::uint32_t block : order) {
      const std::uint64_t rank = runs ? block * ranks / blocks : random.below(ranks);
      trees[rank].add(block, it.leaves[block]);
      ++held[rank];
    }
    shuffle(std::span(trees), random());
    SummaryTree all = std::move(trees[0]);
    for (std::size_t rank = 1; rank < ranks; ++rank) {
      all.absorb(SummaryTree::deserialize(trees[rank].serialize()));
    }
    const auto got = all.root(blocks);
    ASSERT_EQ(got.size(), 3U);
    for (int field = 0; field < 2; ++field) {
      expect_same_bits(got[field].numbers, want[field].numbers);
      EXPECT_EQ(got[field].quantiles.has_value(), want[field].quantiles.has_value());
      if (!got[field].quantiles) continue;
      EXPECT_EQ(got[field].quantiles->entries(), want[field].quantiles->entries());
      EXPECT_EQ(got[field].numbers.count, got[field].quantiles->count());
    }
    if (got[2].counts) {
      EXPECT_EQ((std::map<std::string, std::uint64_t>(got[2].counts->counts().begin(),
                                                      got[2].counts->counts().end())),
                it.counts);
    }
    edges.hit("a number of blocks that is no power of two", (blocks & (blocks - 1)) != 0);
    edges.hit("one block", blocks == 1);
    edges.hit("a rank without blocks", std::ranges::count(held, 0U) > 0);
    edges.hit("blocks scattered over ranks", !runs && ranks > 1);
    edges.hit("no value at all", want[0].numbers.count == 0);
  }
  edges.expect_all_hit();
}

TEST(SummaryTree, ARunOfBlocksIsFewNodes) {
  SummaryTree tree;
  for (std::uint32_t block = 13; block < 1013; ++block) tree.add(block, {FieldSummary{}});
  EXPECT_LE(tree.serialize().size(), 20 * (48 + sizeof(FieldStatistics)) + 8);
}

TEST(SummaryTree, NoticesBlocksTwiceAbsentOrTooMany) {
  const SummaryTree::Summaries leaf(1);
  SummaryTree tree;
  tree.add(0, leaf);
  tree.add(2, leaf);
  EXPECT_THROW(tree.add(2, leaf), Error);
  EXPECT_THROW((void)tree.root(3), Error);
  EXPECT_THROW((void)tree.root(2), Error);
  tree.add(1, leaf);
  EXPECT_EQ(tree.root(3).size(), 1U);
  EXPECT_THROW((void)tree.root(2), Error);
  EXPECT_THROW((void)tree.root(4), Error);
  tree.add(1, leaf);  // inside a sub-tree that is merged already
  EXPECT_THROW((void)tree.root(3), Error);
  SummaryTree mixed;
  mixed.add(0, leaf);
  EXPECT_THROW(mixed.add(1, SummaryTree::Summaries(2)), Error);
  EXPECT_TRUE(SummaryTree().root(0).empty());
}

TEST(SummaryTree, RefusesBytesThatAreNone) {
  SummaryTree tree;
  tree.add(0, SummaryTree::Summaries(2));
  tree.add(5, SummaryTree::Summaries(2));
  const std::vector<std::byte> bytes = tree.serialize();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW((void)SummaryTree::deserialize(std::span(bytes).first(size)), Error) << size;
  }
  std::vector<std::byte> longer = bytes;
  longer.push_back({});
  EXPECT_THROW((void)SummaryTree::deserialize(longer), Error);
  EXPECT_EQ(SummaryTree::deserialize(bytes).serialize(), bytes);
}

}  // namespace
}  // namespace muster
