// The temperature is the one that the scores were heated by, never makes the likelihood worse, and has the
// same bits for any number of ranks.
#include "trainer/evaluation/calibration.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "core/error.h"
#include "core/random.h"
#include "trainer/comm/local_communicator.h"
#include "trainer/evaluation/decision.h"

namespace muster {
namespace {

/// Micro-batches of rows whose labels are drawn by their logits; the scores are `heat` times these.
std::vector<RawMicroBatch> drawn(std::uint64_t seed, std::size_t rows, std::size_t outputs, double heat,
                                 std::size_t micro_batch = 100) {
  RandomStream stream(seed);
  std::vector<RawMicroBatch> batches;
  for (std::size_t row = 0; row < rows; ++row) {
    if (row % micro_batch == 0) {
      batches.emplace_back();
      batches.back().number = batches.size() - 1;
    }
    std::vector<double> logits(outputs);
    for (double& logit : logits) logit = 1.5 * stream.normal() - (outputs == 1 ? 1 : 0);
    double total = outputs == 1 ? 1 : 0;
    for (const double logit : logits) total += std::exp(logit);
    double left = stream.uniform() * total;
    std::size_t label = 0;
    if (outputs == 1) {
      label = left < std::exp(logits[0]) ? 1 : 0;
    } else {
      while (label + 1 < outputs && left >= std::exp(logits[label])) left -= std::exp(logits[label++]);
    }
    for (const double logit : logits) batches.back().scores.push_back(static_cast<float>(heat * logit));
    batches.back().labels.push_back(static_cast<double>(label));
  }
  return batches;
}

TemperatureFit fitted(const std::vector<RawMicroBatch>& batches, std::int64_t outputs, int world = 1) {
  std::vector<TemperatureFit> fits(static_cast<std::size_t>(world));
  run_local(world, [&](Communicator& comm) {
    std::vector<RawMicroBatch> mine;
    for (std::size_t i = 0; i < batches.size(); ++i) {
      if (i % static_cast<std::size_t>(world) == static_cast<std::size_t>(comm.rank()))
        mine.push_back(batches[i]);
    }
    fits[static_cast<std::size_t>(comm.rank())] = fit_temperature(comm, mine, outputs);
  });
  for (const TemperatureFit& fit : fits) {
    EXPECT_EQ(std::bit_cast<std::uint64_t>(fit.temperature),
              std::bit_cast<std::uint64_t>(fits[0].temperature));
    EXPECT_EQ(fit.remark, fits[0].remark);
  }
  return fits[0];
}

double nll(const std::vector<RawMicroBatch>& batches, std::int64_t outputs, double temperature) {
  double sum = 0;
  for (const RawMicroBatch& batch : batches) sum += logit_sums(batch, outputs, 1 / temperature).nll;
  return sum;
}

TEST(Calibration, SumsAreTheLikelihoodAndItsDerivatives) {
  // One row, score 2, label 0: -log(1 - sigmoid(2 / T)).
  RawMicroBatch one;
  one.scores = {2};
  one.labels = {0};
  const double wrong = 1 / (1 + std::exp(-1.0));  // sigmoid(2 / 2)
  const LogitSums sums = logit_sums(one, 1, 0.5);
  EXPECT_NEAR(sums.nll, -std::log(1 - wrong), 1e-12);
  EXPECT_NEAR(sums.first, 2 * wrong, 1e-12);
  EXPECT_NEAR(sums.second, 4 * wrong * (1 - wrong), 1e-12);
  for (const std::int64_t outputs : {1, 4}) {
    const auto batches = drawn(3, 100, static_cast<std::size_t>(outputs), 2);
    constexpr double kStep = 1e-4;
    const LogitSums at = logit_sums(batches[0], outputs, 0.7);
    const LogitSums more = logit_sums(batches[0], outputs, 0.7 + kStep);
    const LogitSums less = logit_sums(batches[0], outputs, 0.7 - kStep);
    EXPECT_NEAR(at.first, (more.nll - less.nll) / (2 * kStep), 1e-4 * std::abs(at.first));
    EXPECT_NEAR(at.second, (more.first - less.first) / (2 * kStep), 1e-4 * at.second);
  }
  RawMicroBatch large;
  large.scores = {1e5F, -1e5F};
  large.labels = {0, 1};
  EXPECT_NEAR(logit_sums(large, 1, 1).nll, 2e5, 1e-6) << "no overflow";
}

TEST(Calibration, FindsTheHeatAndTheLeastLikelihood) {
  for (const std::int64_t outputs : {1, 4}) {
    for (const double heat : {0.25, 1.0, 3.0, 10.0}) {
      const auto batches = drawn(7, 20000, static_cast<std::size_t>(outputs), heat);
      const TemperatureFit fit = fitted(batches, outputs);
      EXPECT_EQ(fit.remark, "");
      EXPECT_NEAR(fit.temperature / heat, 1, 0.06) << outputs << " outputs";
      const double least = nll(batches, outputs, fit.temperature);
      EXPECT_LE(least, nll(batches, outputs, 1));
      EXPECT_LT(least, nll(batches, outputs, fit.temperature * 1.001));
      EXPECT_LT(least, nll(batches, outputs, fit.temperature / 1.001));
      if (heat > 2) {
        EXPECT_LT(least, 0.9 * nll(batches, outputs, 1)) << "overconfident scores get better";
      }
    }
  }
}

TEST(Calibration, HasTheSameBitsForAnyNumberOfRanks) {
  for (const std::int64_t outputs : {1, 3}) {
    for (std::uint64_t seed = 20; seed < 32; ++seed) {
      const auto batches = drawn(seed, 700, static_cast<std::size_t>(outputs), 4, 7);
      const auto one = std::bit_cast<std::uint64_t>(fitted(batches, outputs).temperature);
      for (const int world : {2, 3, 5, 9}) {
        EXPECT_EQ(std::bit_cast<std::uint64_t>(fitted(batches, outputs, world).temperature), one) << world;
      }
    }
  }
}

TEST(Calibration, KeepsOneWhereNothingCanBeFitted) {
  const auto batch = [](std::vector<float> scores, std::vector<double> labels) {
    RawMicroBatch raw;
    raw.scores = std::move(scores);
    raw.labels = std::move(labels);
    return std::vector<RawMicroBatch>{raw};
  };
  const auto kept = [](const std::vector<RawMicroBatch>& batches, std::int64_t outputs, const char* why) {
    for (const int world : {1, 3}) {
      const TemperatureFit fit = fitted(batches, outputs, world);
      EXPECT_EQ(fit.temperature, 1);
      EXPECT_NE(fit.remark.find(why), std::string::npos) << fit.remark;
    }
  };
  kept({}, 1, "one class only");
  kept(batch({1, -1, 2}, {0, 0, 0}), 1, "one class only");
  kept(batch({1, 2, 3, 4}, {1, 1}), 2, "one class only");
  kept(batch({0, 0, 0}, {0, 1, 0}), 1, "say nothing");
  kept(batch({1, -1}, {0, 1}), 1, "say nothing");
  kept(batch({1, -1, 3}, {1, 0, 1}), 1, "apart");
  kept(batch({2, 1, 1, 2}, {0, 1}), 2, "apart");
  try {
    static_cast<void>(logit_sums(batch({1, 2}, {5})[0], 2, 1));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
  }
}

TEST(Decision, GoesThroughJsonToTheBitAndOlderCheckpointsHaveTheConfigs) {
  Decision decision;
  decision.threshold = 0.1F;  // a float's digits
  decision.chosen_by = "f1";
  decision.temperature = 1.0 / 3;
  decision.calibrated = true;
  decision.split = "validation";
  decision.step = 300;
  const Decision back = Decision::from_json(Json::parse(decision.to_json().dump()), "test");
  EXPECT_EQ(back.to_json(), decision.to_json());
  EXPECT_EQ(back.threshold, static_cast<double>(0.1F));
  EXPECT_EQ(describe(back), "threshold 0.1 by f1, temperature 0.333333, fitted to 'validation' at step 300");
  EXPECT_EQ(stale_warning(back, 300), "");
  EXPECT_NE(stale_warning(back, 301).find("evaluation of step 300"), std::string::npos);

  const Config config(Json{{"evaluate", {{"threshold", 0.25}}}});
  for (const Json& state : {Json::object(), Json{{"decision", nullptr}}}) {
    const Decision older = decision_of(state, config, "test");
    EXPECT_EQ(older.threshold, 0.25);
    EXPECT_EQ(older.temperature, 1);
    EXPECT_EQ(stale_warning(older, 5), "");
  }
  EXPECT_EQ(decision_of(Json{{"decision", decision.to_json()}}, config, "test").step, 300U);
  Json broken = decision.to_json();
  broken["temperature"] = 0;
  EXPECT_THROW(decision_of(Json{{"decision", broken}}, config, "test"), Error);
}

}  // namespace
}  // namespace muster
