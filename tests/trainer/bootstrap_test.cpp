// Intervals against the same resamples by brute force, their weights against Poisson's law, and the same bits
// however the rows are dealt.
#include "trainer/evaluation/bootstrap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tests/trainer/dealt_rows.h"
#include "trainer/comm/local_communicator.h"
#include "trainer/evaluation/metrics.h"

namespace muster {
namespace {

using testing::Deal;
using testing::DealtRows;
using testing::random_rows;

constexpr std::uint64_t kSeed = 17;

std::string measured(const DealtRows& all, std::uint64_t resamples, int world = 1,
                     Deal deal = Deal::kInTurn) {
  std::vector<std::string> of_rank(static_cast<std::size_t>(world));
  run_local(world, [&](Communicator& comm) {
    const DealtRows mine = dealt(all, deal, comm.rank(), world);
    of_rank[static_cast<std::size_t>(comm.rank())] = canonical(
        interval_metrics(bootstrap_ranking(comm, mine.scores, mine.positive, mine.rows, resamples, kSeed)));
  });
  for (const std::string& metrics : of_rank) EXPECT_EQ(metrics, of_rank[0]);
  return of_rank[0];
}

/// Every row as often as its weight says.
DealtRows resample(const DealtRows& all, std::uint64_t number) {
  DealtRows drawn;
  for (std::size_t i = 0; i < all.scores.size(); ++i) {
    for (std::uint32_t k = bootstrap_weight(kSeed, number, i); k > 0; --k) {
      drawn.scores.push_back(all.scores[i]);
      drawn.positive.push_back(all.positive[i]);
    }
  }
  return drawn;
}

/// numpy.percentile's default.
double percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const double place = percent / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(place));
  if (below + 1 >= values.size()) return values.back();
  return values[below] + (place - std::floor(place)) * (values[below + 1] - values[below]);
}

TEST(Bootstrap, WeightsFollowPoissonsLaw) {
  std::map<std::uint32_t, double> counted;
  constexpr int kDraws = 400000;
  double both = 0;
  for (std::uint64_t row = 0; row < kDraws; ++row) {
    const std::uint32_t weight = bootstrap_weight(5, row % 40, row / 40);
    counted[weight] += 1;
    both += (weight - 1.0) * (bootstrap_weight(5, row % 40, row / 40 + 1) - 1.0);
  }
  double factorial = 1;
  for (std::uint32_t k = 0; k < 7; ++k) {
    if (k > 0) factorial *= k;
    const double expected = kDraws * std::exp(-1.0) / factorial;
    EXPECT_NEAR(counted[k], expected, 5 * std::sqrt(expected)) << k;
  }
  EXPECT_LE(counted.rbegin()->first, 12U);
  EXPECT_NEAR(both / kDraws, 0, 5 / std::sqrt(kDraws)) << "neighbouring rows are drawn together";
  EXPECT_EQ(bootstrap_weight(5, 3, 7), bootstrap_weight(5, 3, 7));
}

TEST(Bootstrap, EqualsTheSameResamplesByBruteForce) {
  RandomStream stream(51);
  std::map<std::string, int> hits;
  for (int round = 0; round < 24; ++round) {
    const std::uint64_t count = round % 3 == 0 ? 2 + stream.below(6) : 20 + stream.below(200);
    const std::uint64_t distinct = std::uint64_t{1} << stream.below(11);
    const DealtRows rows = random_rows(stream, count, distinct, 1 + stream.below(8));
    const std::uint64_t resamples = 1 + stream.below(40);
    std::vector<double> auc;
    std::vector<double> average_precision;
    for (std::uint64_t b = 0; b < resamples; ++b) {
      const DealtRows drawn = resample(rows, b);
      run_local(1, [&](Communicator& comm) {
        const RankingMetrics metrics = ranking_metrics(comm, drawn.scores, drawn.positive);
        if (std::isnan(metrics.auc)) {
          hits["a resample of one class"] += 1;
          return;
        }
        auc.push_back(metrics.auc);
        average_precision.push_back(metrics.average_precision);
      });
    }
    const Json found = Json::parse(measured(rows, resamples));
    EXPECT_EQ(found.at("bootstrap"), auc.size());
    if (auc.empty()) {
      hits["none defined"] += 1;
      for (const char* end : {"auc_low", "auc_high", "average_precision_low"})
        EXPECT_EQ(found.at(end), "NaN");
      continue;
    }
    hits[distinct < count ? "ties" : "few ties"] += 1;
    EXPECT_NEAR(found.at("auc_low").get<double>(), percentile(auc, 2.5), 1e-12);
    EXPECT_NEAR(found.at("auc_high").get<double>(), percentile(auc, 97.5), 1e-12);
    EXPECT_NEAR(found.at("average_precision_low").get<double>(), percentile(average_precision, 2.5), 1e-8);
    EXPECT_NEAR(found.at("average_precision_high").get<double>(), percentile(average_precision, 97.5), 1e-8);
  }
  for (const char* edge : {"a resample of one class", "none defined", "ties", "few ties"}) {
    RecordProperty(edge, hits[edge]);
    EXPECT_GT(hits[edge], 0) << edge;
  }
}

TEST(Bootstrap, HasTheSameBitsForAnyDeal) {
  RandomStream stream(53);
  for (const std::uint64_t distinct : {1, 30, 100000}) {
    const DealtRows rows = random_rows(stream, 700, distinct, 6);
    const std::string one = measured(rows, 37);
    for (const int world : {2, 3, 5}) {
      for (const Deal deal : testing::kDeals) EXPECT_EQ(measured(rows, 37, world, deal), one) << world;
    }
  }
  EXPECT_NE(measured(random_rows(stream, 50, 1000, 3), 20), measured(random_rows(stream, 50, 1000, 3), 20));
}

TEST(Bootstrap, IsAsWideAsTheStandardErrorSays) {
  // Hanley and McNeil 1982: the standard error of an AUC, here within a quarter of it.
  RandomStream stream(55);
  DealtRows rows;
  constexpr int kPositives = 300;
  constexpr int kNegatives = 2000;
  for (int i = 0; i < kPositives + kNegatives; ++i) {
    rows.positive.push_back(i < kPositives ? 1 : 0);
    rows.scores.push_back(static_cast<float>(stream.normal() + (i < kPositives ? 1.2 : 0)));
  }
  const Json found = Json::parse(measured(rows, 1000));
  double auc = 0;
  run_local(1, [&](Communicator& comm) { auc = ranking_metrics(comm, rows.scores, rows.positive).auc; });
  const double q1 = auc / (2 - auc);
  const double q2 = 2 * auc * auc / (1 + auc);
  const double error = std::sqrt(
      (auc * (1 - auc) + (kPositives - 1) * (q1 - auc * auc) + (kNegatives - 1) * (q2 - auc * auc)) /
      (double{kPositives} * kNegatives));
  const auto low = found.at("auc_low").get<double>();
  const auto high = found.at("auc_high").get<double>();
  EXPECT_LT(low, auc);
  EXPECT_GT(high, auc);
  EXPECT_NEAR((high - low) / (2 * 1.96 * error), 1, 0.25);
}

TEST(Bootstrap, DrawsFewerResamplesOfVeryManyRows) {
  EXPECT_EQ(default_resamples(0), 1000U);
  EXPECT_EQ(default_resamples(1'000'000), 1000U);
  EXPECT_EQ(default_resamples(10'000'000), 400U);
  EXPECT_EQ(default_resamples(1'000'000'000), 100U);
  EXPECT_EQ(default_resamples(kMostBootstrapRows + 1), 0U);
}

}  // namespace
}  // namespace muster
