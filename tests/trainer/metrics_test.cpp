// Metrics against hand values and brute force, and the same bits however the rows are dealt to the ranks.
#include "trainer/evaluation/metrics.h"
#include "trainer/config/metric_names.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>

#include "core/error.h"
#include "core/random.h"
#include "trainer/comm/local_communicator.h"
#include "trainer/evaluation/target_metrics.h"

namespace muster {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Rows {
  std::vector<float> scores;
  std::vector<std::uint8_t> positive;
};

/// By the definitions, over all pairs and all thresholds.
RankingMetrics brute_force(const Rows& rows) {
  RankingMetrics result;
  double wins = 0;
  double precisions = 0;
  for (std::size_t i = 0; i < rows.scores.size(); ++i) {
    result.positives += rows.positive[i] != 0 ? 1U : 0U;
    result.negatives += rows.positive[i] != 0 ? 0U : 1U;
    if (rows.positive[i] == 0) continue;
    double above = 0;
    double positives_above = 0;
    for (std::size_t j = 0; j < rows.scores.size(); ++j) {
      if (rows.positive[j] == 0)
        wins += rows.scores[i] > rows.scores[j] ? 1 : rows.scores[i] == rows.scores[j] ? 0.5 : 0;
      above += rows.scores[j] >= rows.scores[i] ? 1 : 0;
      positives_above += rows.scores[j] >= rows.scores[i] && rows.positive[j] != 0 ? 1 : 0;
    }
    precisions += positives_above / above;
  }
  result.auc = wins / (static_cast<double>(result.positives) * static_cast<double>(result.negatives));
  result.average_precision = precisions / static_cast<double>(result.positives);
  return result;
}

/// How the rows are dealt to the ranks must not matter.
enum class Deal { kInTurn, kInRuns, kAllToLast };

Rows dealt(const Rows& rows, Deal deal, int rank, int world) {
  Rows mine;
  const std::size_t n = rows.scores.size();
  for (std::size_t i = 0; i < n; ++i) {
    const auto r = static_cast<std::size_t>(world);
    const std::size_t owner = deal == Deal::kInTurn ? i % r : deal == Deal::kInRuns ? i * r / n : r - 1;
    if (owner != static_cast<std::size_t>(rank)) continue;
    mine.scores.push_back(rows.scores[i]);
    mine.positive.push_back(rows.positive[i]);
  }
  return mine;
}

RankingMetrics measure(const Rows& rows, int world = 1, Deal deal = Deal::kInTurn) {
  RankingMetrics result;
  run_local(world, [&](Communicator& comm) {
    const Rows mine = dealt(rows, deal, comm.rank(), world);
    const RankingMetrics metrics = ranking_metrics(comm, mine.scores, mine.positive);
    if (comm.rank() == world - 1) result = metrics;
  });
  return result;
}

void expect_same_bits(const RankingMetrics& a, const RankingMetrics& b) {
  EXPECT_EQ(a.positives, b.positives);
  EXPECT_EQ(a.negatives, b.negatives);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(a.auc), std::bit_cast<std::uint64_t>(b.auc));
  EXPECT_EQ(std::bit_cast<std::uint64_t>(a.average_precision),
            std::bit_cast<std::uint64_t>(b.average_precision));
}

TEST(RankingMetrics, GiveHandValues) {
  // scikit-learn's own example: roc_auc_score 0.75, average_precision_score 0.8333…
  const RankingMetrics example = measure({{0.1F, 0.4F, 0.35F, 0.8F}, {0, 0, 1, 1}});
  EXPECT_EQ(example.auc, 0.75);
  EXPECT_NEAR(example.average_precision, 5.0 / 6, 1e-9);
  const RankingMetrics perfect = measure({{-1, 0, 2, kInfinity}, {0, 0, 1, 1}});
  EXPECT_EQ(perfect.auc, 1);
  EXPECT_EQ(perfect.average_precision, 1);
  EXPECT_EQ(measure({{-kInfinity, 0, 2, 3}, {1, 1, 0, 0}}).auc, 0);
}

TEST(RankingMetrics, TiesCountHalf) {
  const RankingMetrics equal = measure({{0.3F, 0.3F, 0.3F, 0.3F}, {1, 0, 0, 0}});
  EXPECT_EQ(equal.auc, 0.5);
  EXPECT_NEAR(equal.average_precision, 0.25, 1e-9);
  EXPECT_EQ(measure({{0.0F, -0.0F}, {1, 0}}).auc, 0.5);  // one number, two bit patterns
}

TEST(RankingMetrics, AreNotDefinedWithoutBothClasses) {
  for (const int world : {1, 3}) {
    EXPECT_TRUE(std::isnan(measure({{}, {}}, world).auc));
    EXPECT_TRUE(std::isnan(measure({{}, {}}, world).average_precision));
    const RankingMetrics positive = measure({{1, 2, 3}, {1, 1, 1}}, world);
    EXPECT_TRUE(std::isnan(positive.auc));
    EXPECT_NEAR(positive.average_precision, 1, 1e-9);
    const RankingMetrics negative = measure({{1, 2, 3}, {0, 0, 0}}, world);
    EXPECT_TRUE(std::isnan(negative.auc));
    EXPECT_TRUE(std::isnan(negative.average_precision));
    EXPECT_EQ(negative.negatives, 3U);
  }
}

TEST(RankingMetrics, EqualBruteForceWithTheSameBitsForAnyDeal) {
  RandomStream stream(31);
  std::map<std::string, int> hits;
  for (int round = 0; round < 40; ++round) {
    Rows rows;
    const std::uint64_t size = 2 + stream.below(round % 4 == 0 ? 3000 : 12);
    const std::uint64_t distinct = std::uint64_t{1} << stream.below(20);
    for (std::uint64_t i = 0; i < size; ++i) {
      rows.scores.push_back(static_cast<float>(stream.below(distinct)) / 64 - 3);
      rows.positive.push_back(i == 0 || (i > 1 && stream.below(5) == 0) ? 1 : 0);
    }
    const RankingMetrics expected = brute_force(rows);
    const RankingMetrics one = measure(rows);
    EXPECT_NEAR(one.auc, expected.auc, 1e-12);
    EXPECT_NEAR(one.average_precision, expected.average_precision, 1e-8);
    hits[distinct == 1 ? "all equal" : distinct < size ? "many ties" : "few ties"] += 1;
    for (const int world : {2, 3, 5}) {
      for (const Deal deal : {Deal::kInTurn, Deal::kInRuns, Deal::kAllToLast}) {
        expect_same_bits(measure(rows, world, deal), one);
        hits[size < static_cast<std::uint64_t>(world) ? "fewer rows than ranks" : "enough rows"] += 1;
      }
    }
  }
  for (const char* edge : {"all equal", "many ties", "few ties", "fewer rows than ranks", "enough rows"}) {
    RecordProperty(edge, hits[edge]);
    EXPECT_GT(hits[edge], 0) << edge;
  }
}

/// One evaluation: micro-batches, dealt to the ranks in turn.
struct MicroBatch {
  std::vector<float> predictions;
  std::vector<double> labels;
  double loss = 0;
  double weight = 1;
};

Json collect(MetricCollector::Kind kind, std::int64_t outputs, const std::vector<MicroBatch>& batches,
             int world = 1, double threshold = 0.5) {
  Json result;
  std::mutex mutex;
  run_local(world, [&](Communicator& comm) {
    MetricCollector collector(kind, outputs, threshold);
    for (std::size_t i = 0; i < batches.size(); ++i) {
      if (i % static_cast<std::size_t>(world) != static_cast<std::size_t>(comm.rank())) continue;
      collector.add(i, batches[i].predictions, batches[i].labels, batches[i].loss, batches[i].weight);
    }
    const Json metrics = collector.finish(comm);
    const std::lock_guard lock(mutex);
    if (!result.is_null()) {
      EXPECT_EQ(canonical(metrics), canonical(result)) << "another rank has other metrics";
    }
    result = metrics;
  });
  return result;
}

TEST(MetricCollector, BinaryGivesHandValues) {
  const std::vector<MicroBatch> batches = {{{0.9F, 0.5F, 0.2F}, {1, 0, 0}, 3, 2},
                                           {{0.4F, 0.8F}, {1, 1}, 1, 2}};
  for (const int world : {1, 2, 3}) {
    const Json metrics = collect(MetricCollector::Kind::kBinary, 1, batches, world);
    EXPECT_EQ(metrics.at("rows"), 5);
    EXPECT_EQ(metrics.at("loss"), 1.0);
    EXPECT_EQ(metrics.at("confusion"), Json::parse("[[1, 1], [1, 2]]"));  // 0.5 counts as positive
    EXPECT_EQ(metrics.at("accuracy"), 0.6);
    EXPECT_EQ(metrics.at("precision"), 2.0 / 3);
    EXPECT_EQ(metrics.at("recall"), 2.0 / 3);
    EXPECT_EQ(metrics.at("f1"), 4.0 / 6);
    EXPECT_EQ(metrics.at("auc"), 5.0 / 6);
    EXPECT_EQ(metrics.at("threshold"), 0.5);
    EXPECT_NEAR(metrics.at("brier").get<double>(), (0.01 + 0.25 + 0.04 + 0.36 + 0.04) / 5, 1e-7);
  }
  EXPECT_EQ(collect(MetricCollector::Kind::kBinary, 1, batches, 1, 0.85).at("confusion"),
            Json::parse("[[2, 0], [2, 1]]"));
}

TEST(MetricCollector, WhatIsNotDefinedIsTheTextNaN) {
  const Json negative = collect(MetricCollector::Kind::kBinary, 1, {{{0.1F}, {0}, 1, 0}});
  for (const char* metric : {"loss", "precision", "recall", "f1", "auc", "average_precision"}) {
    EXPECT_EQ(negative.at(metric), "NaN") << metric;
  }
  EXPECT_EQ(negative.at("accuracy"), 1.0);
  const Json none = collect(MetricCollector::Kind::kNumbers, 1, {}, 2);
  EXPECT_EQ(none, Json::parse(R"({"rows": 0, "loss": "NaN", "rmse": "NaN", "mae": "NaN"})"));
  EXPECT_EQ(collect(MetricCollector::Kind::kNumbers, 1, {{{1}, {2}, std::nan(""), 1}}).at("loss"), "NaN");
}

TEST(MetricCollector, ClassesGiveHandValues) {
  const std::vector<MicroBatch> batches = {{{0.1F, 0.7F, 0.2F, 0.5F, 0.5F, 0.0F}, {1, 2}, 1, 2},
                                           {{0, 0, 1, 1, 0, 0}, {2, 0}, 0, 2}};
  for (const int world : {1, 2, 5}) {
    Json metrics = collect(MetricCollector::Kind::kClasses, 3, batches, world);
    EXPECT_NEAR(metrics.at("brier").get<double>(), (0.01 + 0.09 + 0.04 + 0.25 + 0.25 + 1) / 4, 1e-7);
    metrics.erase("brier");
    // The second row is a tie of classes 0 and 1: the lower one is taken.
    EXPECT_EQ(metrics, Json::parse(R"({"rows": 4, "loss": 0.25, "accuracy": 0.75,
                                       "confusion": [[1, 0, 0], [0, 1, 0], [1, 0, 1]]})"));
  }
}

TEST(MetricCollector, ManyClassesAreCounted) {
  constexpr std::int64_t kClasses = 500;
  std::vector<MicroBatch> batches(3);
  for (std::size_t b = 0; b < batches.size(); ++b) {
    const std::size_t label = 499 - b;
    batches[b].predictions.assign(kClasses, 0);
    batches[b].predictions[label] = 1;
    batches[b].labels = {static_cast<double>(label)};
  }
  const Json metrics = collect(MetricCollector::Kind::kClasses, kClasses, batches, 2);
  EXPECT_EQ(metrics.at("accuracy"), 1.0);
  EXPECT_EQ(metrics.at("confusion").size(), 500U);
  EXPECT_EQ(metrics.at("confusion").at(498).at(498), 1);
}

TEST(MetricCollector, NumbersGiveHandValues) {
  const Json metrics =
      collect(MetricCollector::Kind::kNumbers, 1, {{{1, 2}, {2, 2}, 1, 2}, {{7}, {5}, 4, 1}}, 2);
  EXPECT_EQ(metrics.at("rmse"), std::sqrt(5.0 / 3));
  EXPECT_EQ(metrics.at("mae"), 1.0);
  EXPECT_EQ(metrics.at("loss"), 5.0 / 3);
}

TEST(MetricCollector, ArraysGiveHandValuesOverAllTheirValues) {
  const Json metrics = collect(MetricCollector::Kind::kArrays, 2,
                               {{{1, 2, 4, 4}, {2, 2, 4, 1}, 1, 2}, {{7, -1}, {5, -1}, 4, 1}}, 2);
  EXPECT_EQ(metrics.at("rows"), 3);
  EXPECT_DOUBLE_EQ(metrics.at("rmse").get<double>(), std::sqrt((1 + 9 + 4) / 6.0));
  EXPECT_DOUBLE_EQ(metrics.at("mae").get<double>(), 1);
  EXPECT_DOUBLE_EQ(metrics.at("relative_l2").get<double>(),
                   std::sqrt((1 + 9 + 4) / (4 + 4 + 16 + 1 + 25 + 1.0)));
  EXPECT_EQ(collect(MetricCollector::Kind::kArrays, 2, {{{1, 2}, {0, 0}, 1, 1}}).at("relative_l2"), "NaN");
}

TEST(MetricCollector, GivesTheSameBitsForAnyNumberOfRanks) {
  RandomStream stream(33);
  std::vector<MicroBatch> batches(23);
  for (MicroBatch& batch : batches) {
    for (std::uint64_t i = stream.below(9); i > 0; --i) {
      batch.predictions.push_back(static_cast<float>(stream.uniform()));
      batch.labels.push_back(static_cast<double>(stream.below(2)));
    }
    batch.loss = stream.normal() * 1e6;
    batch.weight = stream.uniform();
  }
  for (const auto kind :
       {MetricCollector::Kind::kBinary, MetricCollector::Kind::kNumbers, MetricCollector::Kind::kArrays}) {
    const std::string one = canonical(collect(kind, 1, batches));
    for (const int world : {2, 3, 5}) EXPECT_EQ(canonical(collect(kind, 1, batches, world)), one);
  }
}

/// `batches[i].predictions` and labels are rows × targets; each target's loss is the batch's × its number.
Json collect_targets(MetricCollector::Kind kind, std::size_t targets, const std::vector<MicroBatch>& batches,
                     int world) {
  Json result;
  std::mutex mutex;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < targets; ++i) names.push_back(fmt::format("t{}", targets - i));
  run_local(world, [&](Communicator& comm) {
    TargetMetrics collector(kind, 0.5, names);
    for (std::size_t i = 0; i < batches.size(); ++i) {
      if (i % static_cast<std::size_t>(world) != static_cast<std::size_t>(comm.rank())) continue;
      std::vector<LossSums> each;
      for (std::size_t target = 0; target < targets; ++target)
        each.push_back({batches[i].loss * static_cast<double>(target + 1), batches[i].weight});
      collector.add(i, batches[i].predictions, batches[i].labels, {batches[i].loss, batches[i].weight}, each);
    }
    const Json metrics = collector.finish(comm);
    const std::lock_guard lock(mutex);
    if (!result.is_null()) {
      EXPECT_EQ(canonical(metrics), canonical(result)) << "another rank has others";
    }
    result = metrics;
  });
  return result;
}

TEST(TargetMetrics, AreEachTargetsOwnWithTheSameBitsForAnyNumberOfRanks) {
  RandomStream stream(77);
  constexpr std::size_t kTargets = 3;
  for (const auto kind : {MetricCollector::Kind::kBinary, MetricCollector::Kind::kNumbers}) {
    std::vector<MicroBatch> batches;
    std::vector<std::vector<MicroBatch>> single(kTargets);
    for (int i = 0; i < 11; ++i) {
      MicroBatch batch{{}, {}, stream.uniform(), 1 + stream.uniform()};
      std::vector<MicroBatch> parts(kTargets, batch);
      const std::uint64_t rows = 1 + stream.below(9);
      for (std::uint64_t row = 0; row < rows; ++row) {
        for (std::size_t target = 0; target < kTargets; ++target) {
          batch.predictions.push_back(static_cast<float>(stream.uniform()));
          batch.labels.push_back(static_cast<double>(stream.below(2)));
          parts[target].predictions.push_back(batch.predictions.back());
          parts[target].labels.push_back(batch.labels.back());
        }
      }
      for (std::size_t target = 0; target < kTargets; ++target) {
        parts[target].loss *= static_cast<double>(target + 1);
        single[target].push_back(parts[target]);
      }
      batches.push_back(std::move(batch));
    }
    const Json metrics = collect_targets(kind, kTargets, batches, 1);
    EXPECT_EQ(metrics.at("targets").size(), kTargets);
    double auc = 0;
    for (std::size_t target = 0; target < kTargets; ++target) {
      const Json alone = collect(kind, 1, single[target]);
      EXPECT_EQ(metrics.at("targets").at(fmt::format("t{}", kTargets - target)), alone);
      if (kind == MetricCollector::Kind::kBinary) auc += alone.at("auc").get<double>();
    }
    EXPECT_EQ(metrics.at("loss"), collect(kind, 1, single[0]).at("loss"));
    EXPECT_EQ(metrics.contains("auc"), kind == MetricCollector::Kind::kBinary);
    EXPECT_FALSE(metrics.contains("rmse")) << "numbers have units of their own";
    if (kind == MetricCollector::Kind::kBinary) {
      EXPECT_EQ(metrics.at("auc").get<double>(), auc / kTargets);
    }
    for (const int world : {2, 3, 5})
      EXPECT_EQ(canonical(collect_targets(kind, kTargets, batches, world)), canonical(metrics)) << world;
  }
}

TEST(TargetMetrics, AMeanIsOfTheTargetsThatHaveTheMetric) {
  const std::vector<MicroBatch> batches = {{{0.9F, 0.9F, 0.1F, 0.2F}, {1, 1, 0, 1}, 1, 2}};
  const Json metrics = collect_targets(MetricCollector::Kind::kBinary, 2, batches, 2);
  EXPECT_EQ(metrics.at("targets").at("t2").at("auc"), 1.0);
  EXPECT_EQ(metrics.at("targets").at("t1").at("auc"), "NaN") << "all rows are positive";
  EXPECT_EQ(metrics.at("auc"), metrics.at("targets").at("t2").at("auc")) << "the mean of those that have one";
  EXPECT_EQ(metrics.at("accuracy"), 0.75);
  EXPECT_EQ(metrics_line(metrics).substr(0, 8), "loss 0.5");
  EXPECT_NE(metrics_line(metrics).find("; t1: auc NaN, t2: auc 1"), std::string::npos)
      << metrics_line(metrics);
}

TEST(MetricCollector, RefusesWhatIsNoPredictionAndNoClass) {
  const auto code = [](const MetricCollector::Kind kind, const MicroBatch& batch) {
    MetricCollector collector(kind, 2, 0.5);
    try {
      collector.add(0, batch.predictions, batch.labels, 0, 1);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kUsage;
  };
  for (const double label : {-1.0, 2.0, 1e300, std::nan("")}) {
    EXPECT_EQ(code(MetricCollector::Kind::kClasses, {{0, 1}, {label}}), ErrorCode::kData) << label;
  }
  EXPECT_EQ(code(MetricCollector::Kind::kClasses, {{std::nanf(""), 1}, {0}}), ErrorCode::kBug);
  EXPECT_EQ(code(MetricCollector::Kind::kArrays, {{0, kInfinity}, {0, 0}}), ErrorCode::kBug);
  EXPECT_EQ(code(MetricCollector::Kind::kArrays, {{0, 0, 0}, {0, 0, 0}}), ErrorCode::kBug);
}

TEST(Metrics, EveryLossGivesWhatItsCheckpointsCanBeComparedBy) {
  const auto given = [](const std::string& loss, const Json& metrics) {
    for (const std::string& metric : comparable_metrics(loss))
      EXPECT_TRUE(metrics.contains(metric)) << loss << " " << metric;
  };
  given("binary", collect(MetricCollector::Kind::kBinary, 1, {}));
  given("cross_entropy", collect(MetricCollector::Kind::kClasses, 2, {}));
  given("mse", collect(MetricCollector::Kind::kArrays, 3, {}));
}

TEST(Metrics, ALineShowsTheNumbers) {
  EXPECT_EQ(
      metrics_line(Json::parse(R"({"auc": 0.912345, "loss": "NaN", "rows": 12345, "confusion": [[1]]})")),
      "auc 0.91234, rows 12,345");
}

TEST(Metrics, DirectionIsKnownOrRefused) {
  EXPECT_TRUE(larger_is_better("auc"));
  EXPECT_FALSE(larger_is_better("rmse"));
  EXPECT_FALSE(larger_is_better("relative_l2"));
  try {
    larger_is_better("acuracy");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    EXPECT_NE(error.message().find("did you mean 'accuracy'"), std::string::npos);
  }
}

}  // namespace
}  // namespace muster
