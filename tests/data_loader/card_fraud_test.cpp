// The card-fraud generator: causal, time-ordered, with a pattern that no single field gives away, and a
// drift.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "data_loader/generators/card_fraud_windows.h"
#include "data_loader/generators/card_fraud_world.h"
#include "data_loader/generators/generator.h"
#include "tests/data_loader/columns.h"

namespace muster::testing {
namespace {

/// All rows of a generator as numbers, without files.
std::map<std::string, std::vector<double>> generated(std::uint64_t rows, std::uint64_t seed) {
  GenerateOptions options;
  options.rows = rows;
  options.seed = seed;
  const auto generator = generators().get("card-fraud").make(options);
  const Contract contract = Contract::parse(YamlNode::parse(generator->contract_yaml(), "contract.yaml"));
  std::vector<std::vector<std::byte>> columns(contract.fields().size());
  generator->next(rows, columns);
  std::map<std::string, std::vector<double>> values;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    values[contract.fields()[i].name] = numbers(contract.fields()[i].dtype, columns[i]);
  }
  return values;
}

/// Area under the ROC curve, ties as half.
double auc(const std::vector<double>& score, const std::vector<double>& label) {
  std::vector<std::size_t> order(score.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score[a] < score[b]; });
  double below = 0;
  double area = 0;
  double positives = 0;
  for (std::size_t i = 0; i < order.size();) {
    double frauds = 0;
    double honest = 0;
    const double value = score[order[i]];
    for (; i < order.size() && score[order[i]] == value; ++i) (label[order[i]] > 0 ? frauds : honest) += 1;
    area += frauds * (below + honest / 2);
    below += honest;
    positives += frauds;
  }
  return area / (positives * below);
}

TEST(CardFraud, NoSingleFieldTellsFraud) {
  const auto values = generated(100'000, 3);
  const std::vector<double>& label = values.at("is_fraud");
  for (const auto& [name, column] : values) {
    if (name == "is_fraud") continue;
    // A missing value as the least, as the greatest, and the indicator alone.
    for (const double stand_in : {-1e30, 1e30}) {
      std::vector<double> filled = column;
      for (double& value : filled) value = std::isnan(value) ? stand_in : value;
      const double area = auc(filled, label);
      EXPECT_LE(std::max(area, 1 - area), 0.80) << name;
    }
    std::vector<double> indicator = column;
    for (double& value : indicator) value = std::isnan(value) ? 1 : 0;
    const double area = auc(indicator, label);
    EXPECT_LE(std::max(area, 1 - area), 0.80) << name << " missing";
  }
}

TEST(CardFraud, AucOfTheTestItselfIsRight) {
  EXPECT_DOUBLE_EQ(auc({1, 2, 3, 4}, {0, 0, 1, 1}), 1.0);
  EXPECT_DOUBLE_EQ(auc({4, 3, 2, 1}, {0, 0, 1, 1}), 0.0);
  EXPECT_DOUBLE_EQ(auc({1, 2, 2, 3}, {0, 0, 1, 1}), 0.875);
}

TEST(CardFraud, WindowsHoldTheirSecondsAndNoOther) {
  constexpr std::int64_t kDay = CardFraudWorld::kDay;
  constexpr std::int64_t kNow = CardFraudWorld::kStart + 100 * kDay;
  const std::array<std::pair<std::int64_t, std::array<std::uint32_t, 4>>, 10> cases{{
      // age of the payment, and in which windows it counts: 1, 7, 30 days, known labels
      {36 * kDay, {0, 0, 0, 0}},
      {35 * kDay + 1, {0, 0, 0, 0}},
      {35 * kDay, {0, 0, 0, 1}},
      {30 * kDay, {0, 0, 1, 1}},
      {7 * kDay + 1, {0, 0, 1, 1}},
      {7 * kDay, {0, 1, 1, 0}},
      {kDay + 1, {0, 1, 1, 0}},
      {kDay, {1, 1, 1, 0}},
      {1, {1, 1, 1, 0}},
      {0, {0, 0, 0, 0}},
  }};
  for (const auto& [age, counts] : cases) {
    CardFraudWindows windows(2, 3);
    windows.advance(kNow - age);
    windows.add({kNow - age, 1, 2, 250, true});
    windows.advance(kNow);
    for (std::size_t window = 0; window < counts.size(); ++window) {
      EXPECT_EQ(windows.card(1)[window].count, counts[window]) << age << " s, window " << window;
      EXPECT_EQ(windows.terminal(2)[window].frauds, counts[window]) << age << " s, window " << window;
      EXPECT_EQ(windows.terminal(2)[window].cents, 250U * counts[window]) << age << " s, window " << window;
      EXPECT_EQ(windows.card(0)[window].count, 0U);
      EXPECT_EQ(windows.terminal(0)[window].count, 0U);
    }
  }
}

/// What a row must say about the past of one card or terminal, from the plain rows alone.
struct Past {
  std::array<double, 3> count{};
  std::array<double, 3> cents{};
  double known_frauds = 0;
  double previous = -1;  ///< the time of the row before
};

TEST(CardFraud, AggregatesAreThePastAndNothingElse) {
  const auto values = generated(6'000, 5);
  const auto& time = values.at("tx_time");
  const auto& amount = values.at("amount");
  const auto& fraud = values.at("is_fraud");
  constexpr double kDay = 86400;
  constexpr std::array<double, 3> kAges{kDay, 7 * kDay, 30 * kDay};
  int with_past = 0;
  int first = 0;
  int with_frauds = 0;
  int labels_too_young = 0;
  for (std::size_t row = 0; row < time.size(); ++row) {
    ASSERT_TRUE(row == 0 || time[row - 1] <= time[row]) << row;
    for (const std::string of : {"card", "terminal"}) {
      const auto& key = values.at(of == "card" ? "customer_id" : "terminal_id");
      Past past;
      for (std::size_t other = 0; other < time.size(); ++other) {
        if (key[other] != key[row]) continue;
        if (other < row) past.previous = time[other];
        if (time[other] >= time[row]) continue;
        const double age = time[row] - time[other];
        for (std::size_t i = 0; i < kAges.size(); ++i) {
          past.count[i] += age <= kAges[i] ? 1 : 0;
          past.cents[i] += age <= kAges[i] ? std::round(amount[other] * 100) : 0;
        }
        if (age > 7 * kDay && age <= 35 * kDay) past.known_frauds += fraud[other];
        if (age <= 7 * kDay && fraud[other] > 0) ++labels_too_young;
      }
      for (std::size_t i = 0; i < kAges.size(); ++i) {
        const std::string days = std::array{"1d", "7d", "30d"}[i];
        ASSERT_EQ(values.at(of + "_tx_" + days)[row], past.count[i]) << row << " " << of << " " << days;
        ASSERT_EQ(values.at(of + "_amount_" + days)[row], static_cast<float>(past.cents[i] / 100)) << row;
      }
      ASSERT_EQ(values.at(of + "_known_frauds_28d")[row], past.known_frauds) << row << " " << of;
      with_past += past.count[2] > 0 ? 1 : 0;
      with_frauds += past.known_frauds > 0 ? 1 : 0;
      if (of == "terminal") continue;
      first += past.previous < 0 ? 1 : 0;
      const double since = values.at("previous_seconds")[row];
      ASSERT_EQ(std::isnan(since), past.previous < 0) << row;
      const auto gap = static_cast<float>(time[row] - past.previous);
      ASSERT_TRUE(std::isnan(since) || since == gap) << row;
    }
  }
  std::printf("rows with a past %d, first of a card %d, with known frauds %d, young labels %d\n", with_past,
              first, with_frauds, labels_too_young);
  EXPECT_GT(with_past, 1000);
  EXPECT_GT(first, 10);
  EXPECT_GT(with_frauds, 50);
  EXPECT_GT(labels_too_young, 50);
}

TEST(CardFraud, FewPaymentsAreFraudAndSomeValuesAreMissing) {
  const auto values = generated(60'000, 11);
  const auto share = [&](const std::string& name, auto&& holds) {
    const auto& column = values.at(name);
    return static_cast<double>(std::count_if(column.begin(), column.end(), holds)) /
           static_cast<double>(column.size());
  };
  const auto missing = [](double value) { return std::isnan(value); };
  const double frauds = share("is_fraud", [](double value) { return value > 0; });
  EXPECT_GT(frauds, 0.01);
  EXPECT_LT(frauds, 0.025);
  EXPECT_GT(share("age_band", missing), 0.05);
  EXPECT_GT(share("night_worker", missing), 0.01);
  EXPECT_GT(share("terminal_price_level", missing), 0.05);
  EXPECT_NEAR(share("distance_km", missing), share("online", [](double value) { return value > 0; }), 1e-9);
}

TEST(CardFraud, RatesAreThoseOfPeopleWhateverTheNumberOfRows) {
  for (const std::uint64_t rows : {std::uint64_t{30'000}, std::uint64_t{120'000}}) {
    const auto values = generated(rows, 2);
    const double days = (values.at("tx_time").back() - values.at("tx_time").front()) / 86400;
    EXPECT_NEAR(days, 270, 15) << rows;
    const auto& customers = values.at("customer_id");
    const double count = *std::max_element(customers.begin(), customers.end()) + 1;
    EXPECT_NEAR(static_cast<double>(rows) / count / days, 0.75, 0.08) << rows;
  }
}

TEST(CardFraud, MemoryIsBoundedForAnyNumberOfRows) {
  const CardFraudWorld large(1, std::uint64_t{2'000'000'000});
  EXPECT_LE(large.customers().size(), 100'000U);
  EXPECT_LE(large.terminals().size(), 50'000U);
  EXPECT_GT(large.days(), 10'000U);  // more rows take more time, not more people
  EXPECT_EQ(CardFraudWorld(1, 1).customers().size(), 60U);
}

TEST(CardFraud, ThePatternDriftsInTheLastThird) {
  const auto values = generated(150'000, 4);
  const auto& time = values.at("tx_time");
  std::array<double, 2> frauds{};
  std::array<double, 2> online{};
  std::array<double, 2> terminals_new{};
  std::array<std::vector<double>, 2> ratios;
  for (std::size_t row = 0; row < time.size(); ++row) {
    const double day = (time[row] - static_cast<double>(CardFraudWorld::kStart)) / 86400;
    const std::size_t late = day >= 180 ? 1 : 0;
    // Terminals open from 60 % of the time on; the early rows compared end before that.
    if (late == 1 || day < 160) terminals_new[late] += values.at("terminal_age_days")[row] < 60 ? 1 : 0;
    if (values.at("is_fraud")[row] == 0) continue;
    frauds[late] += 1;
    online[late] += values.at("online")[row];
    const double usual = values.at("card_amount_30d")[row] / values.at("card_tx_30d")[row];
    const double ratio = values.at("amount")[row] / usual;
    if (std::isfinite(ratio) && ratio > 1.5) ratios[late].push_back(ratio);
  }
  for (std::vector<double>& some : ratios) std::sort(some.begin(), some.end());
  EXPECT_GT(online[1] / frauds[1], online[0] / frauds[0] + 0.08);
  EXPECT_LT(ratios[1][ratios[1].size() / 2], 0.9 * ratios[0][ratios[0].size() / 2]);
  EXPECT_GT(terminals_new[1], 5 * terminals_new[0] + 500);
}

}  // namespace
}  // namespace muster::testing
