// Thresholds against brute force over every score there is, and the same however the rows are dealt.
#include "trainer/evaluation/threshold.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "tests/trainer/dealt_rows.h"
#include "trainer/comm/local_communicator.h"

namespace muster {
namespace {

using testing::Deal;
using testing::DealtRows;
using testing::random_rows;

std::optional<float> chosen(const DealtRows& all, const ThresholdSettings& settings, int world = 1,
                            Deal deal = Deal::kInTurn) {
  std::vector<std::optional<float>> of_rank(static_cast<std::size_t>(world));
  run_local(world, [&](Communicator& comm) {
    const DealtRows mine = dealt(all, deal, comm.rank(), world);
    of_rank[static_cast<std::size_t>(comm.rank())] =
        choose_threshold(comm, mine.scores, mine.positive, settings);
  });
  for (const auto& threshold : of_rank) EXPECT_EQ(threshold, of_rank[0]) << "another rank has another one";
  return of_rank[0];
}

struct Confusion {
  double true_positives = 0;
  double false_positives = 0;
  double false_negatives = 0;
};

Confusion confusion(const DealtRows& all, float threshold) {
  Confusion counts;
  for (std::size_t i = 0; i < all.scores.size(); ++i) {
    const bool predicted = all.scores[i] >= threshold;
    if (predicted && all.positive[i] != 0) counts.true_positives += 1;
    if (predicted && all.positive[i] == 0) counts.false_positives += 1;
    if (!predicted && all.positive[i] != 0) counts.false_negatives += 1;
  }
  return counts;
}

double f1(const Confusion& c) {
  return 2 * c.true_positives / (2 * c.true_positives + c.false_positives + c.false_negatives);
}

double recall(const Confusion& c) { return c.true_positives / (c.true_positives + c.false_negatives); }

double cost(const Confusion& c, const ThresholdSettings& settings) {
  return settings.cost_false_positive * c.false_positives + settings.cost_false_negative * c.false_negatives;
}

/// By the definition: every score from the greatest down, and one above them all.
std::optional<float> brute_force(const DealtRows& all, const ThresholdSettings& settings) {
  std::set<float, std::greater<>> candidates(all.scores.begin(), all.scores.end());
  candidates.insert(std::nextafter(*candidates.begin(), std::numeric_limits<float>::infinity()));
  std::optional<float> best;
  for (const float candidate : candidates) {
    const Confusion now = confusion(all, candidate);
    if (settings.rule == ThresholdRule::kRecall) {
      if (recall(now) >= settings.least_recall) return candidate;
      continue;
    }
    const bool better = !best || (settings.rule == ThresholdRule::kF1
                                      ? f1(now) > f1(confusion(all, *best))
                                      : cost(now, settings) < cost(confusion(all, *best), settings));
    if (better) best = candidate;
  }
  return best;
}

TEST(Threshold, HandValues) {
  const DealtRows rows{{0.1F, 0.4F, 0.35F, 0.8F, 0.9F}, {0, 0, 1, 1, 0}, {}};
  // From 0.35 up: 2 of 2 positives with 2 false alarms, F1 = 4/6; from 0.8 up 2/4.
  EXPECT_EQ(chosen(rows, {ThresholdRule::kF1}), 0.35F);
  EXPECT_EQ(chosen(rows, {ThresholdRule::kRecall, 1, 1, 0.5}), 0.8F);
  EXPECT_EQ(chosen(rows, {ThresholdRule::kRecall, 1, 1, 0.51}), 0.35F);
  // A missed positive for a false alarm: 2 either way from 0.35, 0.8 and with no positive at all.
  EXPECT_EQ(chosen(rows, {ThresholdRule::kCost, 1, 1}), std::nextafter(0.9F, 1.0F));
  EXPECT_EQ(chosen(rows, {ThresholdRule::kCost, 1, 10}), 0.35F);
  EXPECT_EQ(chosen(rows, {ThresholdRule::kNone}), std::nullopt);
}

TEST(Threshold, OfEquallyGoodOnesTheGreatestIsTaken) {
  // F1 is 2/3 from 0.9 (1 of 2, no false alarm) and from 0.2 (2 of 2, 2 false alarms).
  const DealtRows rows{{0.9F, 0.5F, 0.4F, 0.2F, 0.1F}, {1, 0, 0, 1, 0}, {}};
  for (const int world : {1, 2, 5}) EXPECT_EQ(chosen(rows, {ThresholdRule::kF1}, world), 0.9F);
}

TEST(Threshold, OneClassChoosesNothingAndEqualScoresGiveThemselves) {
  for (const auto rule : {ThresholdRule::kF1, ThresholdRule::kCost, ThresholdRule::kRecall}) {
    for (const int world : {1, 3}) {
      EXPECT_EQ(chosen({{}, {}, {}}, {rule}, world), std::nullopt);
      EXPECT_EQ(chosen({{0.2F, 0.7F}, {0, 0}, {}}, {rule}, world), std::nullopt);
      EXPECT_EQ(chosen({{0.2F, 0.7F}, {1, 1}, {}}, {rule}, world), std::nullopt);
      EXPECT_EQ(chosen({{0.5F, 0.5F, 0.5F}, {1, 1, 0}, {}}, {rule}, world), 0.5F);
    }
  }
  const DealtRows mostly_negative{{1.0F, 1.0F, 1.0F}, {1, 0, 0}, {}};
  EXPECT_GT(chosen(mostly_negative, {ThresholdRule::kCost}), 1.0F) << "no row is positive";
}

TEST(Threshold, EqualsBruteForceForAnyDeal) {
  RandomStream stream(41);
  std::map<std::string, int> hits;
  for (int round = 0; round < 120; ++round) {
    const std::uint64_t count = 2 + stream.below(round % 4 == 0 ? 400 : 12);
    const std::uint64_t distinct = std::uint64_t{1} << stream.below(12);
    const DealtRows rows = random_rows(stream, count, distinct, 1 + stream.below(6));
    ThresholdSettings settings;
    const ThresholdRule rules[] = {ThresholdRule::kF1, ThresholdRule::kCost, ThresholdRule::kRecall};
    settings.rule = rules[round % 3];
    settings.cost_false_positive = static_cast<double>(1 + stream.below(3));
    settings.cost_false_negative = static_cast<double>(1 + stream.below(5));
    settings.least_recall = static_cast<double>(1 + stream.below(10)) / 10;
    const std::set<std::uint8_t> classes(rows.positive.begin(), rows.positive.end());
    const auto expected = classes.size() == 2 ? brute_force(rows, settings) : std::nullopt;
    hits[classes.size() < 2 ? "one class" : "both classes"] += 1;
    hits[distinct < count ? "ties" : "few ties"] += 1;
    if (expected &&
        confusion(rows, *expected).true_positives + confusion(rows, *expected).false_positives == 0)
      hits["none positive"] += 1;
    for (const int world : {1, 2, 3, 5}) {
      for (const Deal deal : testing::kDeals) {
        EXPECT_EQ(chosen(rows, settings, world, deal), expected) << "round " << round << " on " << world;
        if (count < static_cast<std::uint64_t>(world)) hits["fewer rows than ranks"] += 1;
      }
    }
  }
  for (const char* edge :
       {"one class", "both classes", "ties", "few ties", "none positive", "fewer rows than ranks"}) {
    RecordProperty(edge, hits[edge]);
    EXPECT_GT(hits[edge], 0) << edge;
  }
}

}  // namespace
}  // namespace muster
