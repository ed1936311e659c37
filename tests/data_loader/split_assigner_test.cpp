#include "data_loader/dataset/split_assigner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <string>

#include "core/hash.h"
#include "core/random.h"
#include "data_loader/manifest/row_index.h"
#include "tests/data_loader/order_cases.h"

namespace muster {
namespace {

TEST(SplitAssignerTest, FractionsFollowTheDocumentedHash) {
  const Contract contract = Contract::parse(YamlNode::parse(
      "version: 1\nfields: {x: {dtype: int8}}\nsplits: {by: fraction, seed: 5, train: 0.5, test: 0.2}\n",
      "c"));
  const SplitAssigner assigner(contract);
  EXPECT_LT(assigner.field(), 0);
  const auto splits = assigner.assign(3, 1000, 20000, {});
  std::array<int, 3> counts{};
  for (std::uint64_t i = 0; i < splits.size(); ++i) {
    const double u = static_cast<double>(random_key(5, Purpose::kSplit, {3, 1000 + i}) >> 11) / 0x1p53;
    const std::uint8_t expected = u < 0.5 ? 0 : (u < 0.7 ? 1 : RowIndex::kNone);
    ASSERT_EQ(splits[i], expected) << i;
    ++counts[std::min<std::uint8_t>(expected, 2)];
  }
  EXPECT_NEAR(counts[0], 10000, 400);
  EXPECT_NEAR(counts[1], 4000, 300);
  // The same rows in another cut.
  const auto tail = assigner.assign(3, 1500, 10, {});
  EXPECT_TRUE(std::equal(tail.begin(), tail.end(), splits.begin() + 500));
}

template <typename T>
std::vector<std::uint8_t> splits_by_key(const std::string& dtype, const std::vector<T>& keys) {
  const Contract contract = Contract::parse(YamlNode::parse(
      "version: 1\nfields: {x: {dtype: int8}, who: {dtype: " + dtype +
          ", role: key}}\nsplits: {by: key, field: who, seed: 5, train: 0.6, validation: 0.2, test: 0.2}\n",
      "c"));
  const SplitAssigner assigner(contract);
  EXPECT_EQ(assigner.field(), 1);
  return assigner.assign(7, 1000, keys.size(), std::as_bytes(std::span(keys)));
}

TEST(SplitAssignerTest, AllRowsOfAKeyAreOnOneSideWhereverTheyLie) {
  std::vector<std::int64_t> keys;
  RandomStream random(4);
  for (int i = 0; i < 20'000; ++i) keys.push_back(static_cast<std::int64_t>(random.below(2000)) - 1000);
  const auto splits = splits_by_key("int64", keys);
  std::map<std::int64_t, std::uint8_t> side;
  std::array<int, 3> customers{};
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto [first, is_new] = side.emplace(keys[i], splits[i]);
    ASSERT_EQ(first->second, splits[i]) << "key " << keys[i] << " is on two sides";
    if (is_new) ++customers.at(splits[i]);
  }
  EXPECT_NEAR(customers[0], 1200, 110);  // five standard deviations
  EXPECT_NEAR(customers[1], 400, 90);
  EXPECT_NEAR(customers[2], 400, 90);
}

TEST(SplitAssignerTest, AKeyIsTheSameInEveryType) {
  const auto wide = splits_by_key<std::int64_t>("int64", {-3, 0, 7, 100});
  EXPECT_EQ(splits_by_key<std::int8_t>("int8", {-3, 0, 7, 100}), wide);
  EXPECT_EQ(splits_by_key<std::int32_t>("int32", {-3, 0, 7, 100}), wide);
  EXPECT_EQ(splits_by_key<std::uint16_t>("uint16", {7, 100}), (std::vector<std::uint8_t>{wide[2], wide[3]}));
  const double u = static_cast<double>(random_key(5, Purpose::kSplit, {7}) >> 11) / 0x1p53;
  EXPECT_EQ(wide[2], u < 0.6 ? 0 : (u < 0.8 ? 1 : 2));  // as documented
}

template <typename T>
std::vector<std::uint8_t> splits_at(const std::string& dtype, const std::string& intervals,
                                    const std::vector<T>& times) {
  const Contract contract =
      Contract::parse(YamlNode::parse("version: 1\nfields: {t: {dtype: " + dtype +
                                          ", role: time}}\nsplits: {by: time, field: t, " + intervals + "}\n",
                                      "c"));
  return SplitAssigner(contract).assign(0, 0, times.size(), std::as_bytes(std::span(times)));
}

TEST(SplitAssignerTest, TimesAreComparedExactlyInEveryType) {
  constexpr std::uint8_t kNone = RowIndex::kNone;
  const std::string cut = "train: {from: -5, until: 10}, test: {from: 12}";
  using Splits = std::vector<std::uint8_t>;
  EXPECT_EQ(splits_at<std::int8_t>("int8", cut, {-6, -5, 9, 10, 11, 12, 127}),
            (Splits{kNone, 0, 0, kNone, kNone, 1, 1}));
  EXPECT_EQ(splits_at<std::uint64_t>("uint64", cut, {0, 10, 12, ~std::uint64_t{0}}),
            (Splits{0, kNone, 1, 1}));
  EXPECT_EQ(splits_at<double>("float64", cut, {-5.01, -5, 9.99, 10, 12, 1e300}),
            (Splits{kNone, 0, 0, kNone, 1, 1}));
  const std::int64_t big = (std::int64_t{1} << 53) + 1;  // no double
  EXPECT_EQ(splits_at<std::int64_t>("int64", fmt::format("train: {{until: {}}}", big), {big - 1, big}),
            (Splits{0, kNone}));
}

TEST(SplitAssignerTest, TextsAreSplitByTheDocumentedHash) {
  const Contract contract = Contract::parse(
      YamlNode::parse("version: 1\nfields: {who: {dtype: string, length: 4, role: key}, x: {dtype: int8}}\n"
                      "splits: {by: key, field: who, seed: 5, train: 0.6, validation: 0.2, test: 0.2}\n",
                      "c"));
  const std::vector<std::string> names = {"a", "Ü", "abcd", "a", ""};
  std::vector<std::byte> column(names.size() * 4);
  for (std::size_t i = 0; i < names.size(); ++i)
    std::memcpy(&column[i * 4], names[i].data(), names[i].size());
  const auto splits = SplitAssigner(contract).assign(0, 0, names.size(), column);
  EXPECT_EQ(splits[0], splits[3]);
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::uint64_t key = 0;
    const Sha256 hash = sha256(std::as_bytes(std::span(names[i])));
    std::memcpy(&key, hash.bytes.data(), sizeof key);
    const double u = static_cast<double>(random_key(5, Purpose::kSplit, {key}) >> 11) / 0x1p53;
    EXPECT_EQ(splits[i], u < 0.6 ? 0 : (u < 0.8 ? 1 : 2)) << names[i];
  }
}

Contract by_order(const std::string& rule) {
  return Contract::parse(
      YamlNode::parse("version: 1\nfields: {x: {dtype: int8}}\nsplits: {by: order, " + rule + "}\n", "c"));
}

TEST(SplitAssignerTest, TheFirstRowsAndThenTheNextWhateverThePartitions) {
  RandomStream random(9);
  testing::Edges edges;
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t gap = random.below(3) == 0 ? random.below(20) : 0;
    const double train = 0.1 + 0.5 * random.uniform();
    const Contract contract =
        by_order(fmt::format("gap_rows: {}, train: {}, test: {}", gap, train, 1 - train));
    std::vector<std::uint64_t> before = {0};
    for (std::uint64_t p = 1 + random.below(5); p > 0; --p)
      before.push_back(before.back() + (random.below(4) == 0 ? 0 : random.below(90)));
    const std::uint64_t rows = before.back();
    const SplitAssigner assigner(contract, before);
    std::vector<std::uint8_t> all;
    for (std::uint32_t p = 0; p + 1 < before.size(); ++p) {
      const std::uint64_t here = before[p + 1] - before[p];
      const std::uint64_t cut = here == 0 ? 0 : random.below(here + 1);  // in two calls
      for (const auto& part : {assigner.assign(p, 0, cut, {}), assigner.assign(p, cut, here - cut, {})})
        all.insert(all.end(), part.begin(), part.end());
    }
    ASSERT_EQ(all.size(), rows);
    const auto end = static_cast<std::uint64_t>(std::llround(train * static_cast<double>(rows)));
    for (std::uint64_t row = 0; row < rows; ++row)
      ASSERT_EQ(all[row], row < end ? 0 : (row < end + gap ? RowIndex::kNone : 1)) << row;
    edges.hit("a gap", gap > 0);
    edges.hit("a gap longer than what is left", gap > rows - end);
    edges.hit("an empty partition", std::adjacent_find(before.begin(), before.end()) != before.end());
    edges.hit("no rows", rows == 0);
  }
  edges.expect_all_hit();
}

TEST(SplitAssignerTest, StrataHaveTheSameSharesToTheRow) {
  RandomStream random(10);
  for (int i = 0; i < 60; ++i) {
    FractionSplit rule;
    rule.seed = random();
    rule.stratified = true;
    rule.shares = {{"train", 0.6}, {"validation", 0.15}, {"test", 0.25}};
    std::vector<std::uint64_t> before = {0};
    for (std::uint64_t p = 1 + random.below(4); p > 0; --p)
      before.push_back(before.back() + random.below(300));
    std::vector<std::uint8_t> labels(before.back());
    for (std::uint8_t& label : labels)
      label = random.below(9) == 0 ? RowIndex::kNone
                                   : static_cast<std::uint8_t>(random.below(1 + random.below(4)));
    const auto splits = stratify(rule, labels, before);
    std::map<std::uint8_t, std::array<std::uint64_t, 3>> counts;
    std::map<std::uint8_t, std::uint64_t> all;
    for (std::size_t row = 0; row < labels.size(); ++row) {
      ASSERT_EQ(splits[row] == RowIndex::kNone, labels[row] == RowIndex::kNone) << "the shares add up to 1";
      if (labels[row] == RowIndex::kNone) continue;
      ++counts[labels[row]][splits[row]];
      ++all[labels[row]];
    }
    for (const auto& [label, count] : counts) {
      const auto rows = static_cast<double>(all[label]);
      EXPECT_EQ(count[0], static_cast<std::uint64_t>(std::llround(0.6 * rows)));
      EXPECT_EQ(count[0] + count[1], static_cast<std::uint64_t>(std::llround(0.75 * rows)));
    }
    // A row's place among its like is drawn, not its place in the file.
    rule.seed += 1;
    if (labels.size() > 100) {
      EXPECT_NE(stratify(rule, labels, before), splits);
    }
  }
}

}  // namespace
}  // namespace muster
