#include "data_loader/dataset/leak_guard.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/random.h"
#include "tests/data_loader/order_cases.h"

namespace muster {
namespace {

/// Honest features: each tells a little of a binary label, one is missing at times, one is a category.
LeakTable honest(RandomStream& random, std::size_t rows) {
  LeakTable table;
  table.features = {{"f0", false, {}}, {"f1", false, {}}, {"f2", false, {}}, {"f3", true, {}}};
  for (std::size_t row = 0; row < rows; ++row) {
    const double label = random.below(4) == 0 ? 1 : 0;
    table.label.push_back(label);
    table.features[0].values.push_back(random.normal() + 0.6 * label);
    table.features[1].values.push_back(random.below(5) == 0 ? std::numeric_limits<double>::quiet_NaN()
                                                            : random.normal() - 0.5 * label);
    table.features[2].values.push_back(std::exp(random.normal()));
    table.features[3].values.push_back(static_cast<double>(random.below(label > 0 ? 6 : 8)));
  }
  return table;
}

std::vector<std::string> fields_of(const std::vector<LeakFinding>& findings) {
  std::vector<std::string> names;
  for (const LeakFinding& finding : findings)
    names.insert(names.end(), finding.fields.begin(), finding.fields.end());
  return names;
}

using Names = std::vector<std::string>;

TEST(LeakGuard, HonestFeaturesAreLeftAloneWhateverTheirNames) {
  RandomStream random(3);
  for (int i = 0; i < 30; ++i) {
    LeakTable table = honest(random, 400 + random.below(3000));
    // Each row a category of its own: an identifier learns nothing.
    table.features.push_back({"id", true, {}});
    for (std::size_t row = 0; row < table.label.size(); ++row)
      table.features.back().values.push_back(static_cast<double>(row * 7919 % table.label.size()));
    EXPECT_EQ(fields_of(find_lone_predictors(score_features(table), table.label)), Names{});
    EXPECT_EQ(fields_of(find_sums(table)), Names{});
    const auto scores = score_features(table);
    for (LeakTable::Column& column : table.features) column.name = "label_leak_" + column.name;
    const auto renamed = score_features(table);
    for (std::size_t k = 0; k < scores.size(); ++k) {
      EXPECT_EQ(renamed[k].name, "label_leak_" + scores[k].name);
      EXPECT_EQ(renamed[k].auc, scores[k].auc);
      if (scores[k].name == "id") {
        EXPECT_NEAR(scores[k].auc, 0.5, 0.1);
      }
    }
  }
}

TEST(LeakGuard, NamesWhatTellsTheLabelAlone) {
  RandomStream random(4);
  testing::Edges edges;
  for (int i = 0; i < 60; ++i) {
    LeakTable table = honest(random, 500 + random.below(2000));
    const std::uint64_t kind = random.below(6);
    std::vector<double> leak;
    for (const double label : table.label) {
      switch (kind) {
        case 0:  // the label itself, now and then wrong
          leak.push_back(random.below(30) == 0 ? 1 - label : label);
          break;
        case 1:  // not monotone: far from the middle
          leak.push_back(label > 0 ? (random.below(2) == 0 ? -5.0 : 5.0) + random.normal() : random.normal());
          break;
        case 2:  // missing where it says yes
          leak.push_back(label > 0 ? std::numeric_limits<double>::quiet_NaN() : random.normal());
          break;
        case 3:  // many categories, each of one label
          leak.push_back(static_cast<double>(2 * random.below(10)) + label);
          break;
        default:  // strong, far ahead of all others
          leak.push_back(random.normal() + 2.2 * label);
      }
    }
    table.features.insert(table.features.begin() + static_cast<std::ptrdiff_t>(random.below(5)),
                          {"z", kind == 3, leak});
    EXPECT_EQ(fields_of(find_lone_predictors(score_features(table), table.label)), Names{"z"}) << kind;
    edges.hit("the label copied", kind == 0);
    edges.hit("not monotone", kind == 1);
    edges.hit("missing values that tell", kind == 2);
    edges.hit("categories", kind == 3);
    edges.hit("strong, not certain", kind > 3);
  }
  edges.expect_all_hit();
}

TEST(LeakGuard, LabelsOfSeveralKinds) {
  RandomStream random(5);
  for (const std::size_t classes : {std::size_t{7}, std::size_t{0}}) {
    LeakTable table;
    table.features = {{"a", false, {}}, {"b", false, {}}};
    for (std::size_t row = 0; row < 3000; ++row) {
      const double label = classes > 0 ? static_cast<double>(random.below(classes)) : 100 * random.normal();
      table.label.push_back(label);
      table.features[0].values.push_back(label * 3 + (classes > 0 ? 0.1 : 5) * random.normal());
      table.features[1].values.push_back(random.normal());
    }
    EXPECT_EQ(fields_of(find_lone_predictors(score_features(table), table.label)), Names{"a"}) << classes;
    std::swap(table.features[0].values, table.features[1].values);
    EXPECT_EQ(fields_of(find_lone_predictors(score_features(table), table.label)), Names{"b"}) << classes;
  }
}

TEST(LeakGuard, NamesASumThatHoldsTheLabel) {
  RandomStream random(6);
  for (const bool binary : {false, true}) {
    LeakTable table;
    table.features = {{"net", false, {}}, {"tax", false, {}}, {"noise", false, {}}, {"gross", false, {}}};
    for (std::size_t row = 0; row < 4000; ++row) {
      const double net = 200 * std::exp(random.normal());
      const double tax = 0.5 * net * random.uniform();
      const double label = binary ? static_cast<double>(random.below(2)) : 30 + 10 * random.normal();
      table.label.push_back(label);
      const double row_values[] = {net, tax, random.normal(), net + tax + label};
      for (std::size_t i = 0; i < 4; ++i)
        table.features[i].values.push_back(static_cast<double>(static_cast<float>(row_values[i])));
    }
    EXPECT_EQ(fields_of(find_lone_predictors(score_features(table), table.label)), Names{});
    EXPECT_EQ(fields_of(find_sums(table)), (Names{"net", "tax", "gross"}));
    for (double& value : table.features[3].values) value += 20 * random.normal();
    EXPECT_EQ(fields_of(find_sums(table)), Names{}) << "noise hides the sum";
  }
}

TEST(LeakGuard, RowsAndKeysOnBothSides) {
  RandomStream random(7);
  SplitSide train{"train", {}, {{}}};
  SplitSide other{"validation", {}, {{}}};
  for (std::size_t row = 0; row < 5000; ++row) {
    train.rows.push_back(random());
    train.keys[0].push_back(random.below(800));
  }
  for (std::size_t row = 0; row < 1000; ++row) {
    other.rows.push_back(random());
    other.keys[0].push_back(1000 + random.below(800));
  }
  const std::vector<std::string> keys = {"customer"};
  EXPECT_TRUE(find_shared(train, other, keys, true).empty());
  for (std::size_t i = 0; i < 9; ++i) other.rows[i * 10] = train.rows[i];
  EXPECT_TRUE(find_shared(train, other, keys, true).empty()) << "less than one in a hundred";
  for (std::size_t i = 0; i < 20; ++i) other.rows[i * 10] = train.rows[i];
  const auto rows = find_shared(train, other, keys, true);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].kind, "shared_rows");
  EXPECT_NE(rows[0].message.find("20 of 1,000 rows of 'validation'"), std::string::npos) << rows[0].message;
  for (std::size_t i = 0; i < 40; ++i) other.keys[0][i] = train.keys[0][i];
  const auto both = find_shared(train, other, keys, true);
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(both[1].fields, keys);
  EXPECT_EQ(find_shared(train, other, keys, false).size(), 1U) << "in time the same customers come again";
  for (std::uint64_t& hash : train.rows) hash %= 50;
  for (std::uint64_t& hash : other.rows) hash %= 50;
  EXPECT_EQ(find_shared(train, other, keys, false).size(), 0U) << "rows of few values repeat by themselves";
}

TEST(LeakGuard, TellsCopiesFromRowsThatAreAlikeByNature) {
  RandomStream random(23);
  SplitSide train{"train", {}, {}};
  SplitSide other{"validation", {}, {}};
  const auto alike = [&] { return random.below(100) < 30 ? random.below(200) : random(); };
  for (std::size_t row = 0; row < 4000; ++row) train.rows.push_back(alike());
  for (std::size_t row = 0; row < 1000; ++row) other.rows.push_back(alike());
  EXPECT_TRUE(find_shared(train, other, {}, true).empty()) << "as many repeat inside the training split";
  // Every row of a table twice, dealt at random to 70 % and 30 %.
  train.rows.clear();
  other.rows.clear();
  for (std::size_t row = 0; row < 5000; ++row) {
    const std::uint64_t value = random();
    for (int copy = 0; copy < 2; ++copy) (random.below(10) < 7 ? train : other).rows.push_back(value);
  }
  EXPECT_EQ(find_shared(train, other, {}, true).size(), 1U);
}

}  // namespace
}  // namespace muster
