#include "trainer/evaluation/score_stage.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "trainer/comm/gather.h"
#include "trainer/evaluation/batch_scores.h"
#include "trainer/evaluation/bootstrap.h"

namespace muster {
namespace {

/// Finite also when a temperature makes them 64 times as large.
void check_finite(const RawMicroBatch& raw, const Batch& batch, std::int64_t outputs) {
  for (std::size_t i = 0; i < raw.scores.size(); ++i) {
    if (std::isfinite(64 * raw.scores[i])) continue;
    const RowId id = batch.ids()[i / static_cast<std::size_t>(outputs)];
    fail(ErrorCode::kData, "the model's score of partition {} row {} is not finite", id.partition, id.row);
  }
}

/// The same bits as batch_scores() gives for them.
std::vector<float> probabilities(const RawMicroBatch& raw, std::int64_t outputs, const LossSettings& loss) {
  std::vector<float> scores = raw.scores;
  const auto rows = static_cast<std::int64_t>(raw.labels.size());
  const at::Tensor tensor = at::from_blob(scores.data(), {rows, outputs}, at::kFloat);
  const at::Tensor predicted = predictions(tensor, loss).contiguous();
  const float* first = predicted.data_ptr<float>();
  return {first, first + predicted.numel()};
}

}  // namespace

ScoreStage::ScoreStage(const EvaluateSettings& settings, MetricCollector& collector)
    : settings_(settings), collector_(collector) {
  decision_.threshold = settings.threshold;
  decision_.temperature = settings.loss.temperature;
  decision_.calibrated = settings.calibrated || settings.fit.calibrate;
  if (settings.fit.any()) decision_.split = settings.split;
}

void ScoreStage::add(const Batch& batch, const at::Tensor& scores, std::span<const double> labels,
                     double loss, double weight) {
  std::vector<float> predicted = batch_scores(scores, batch, settings_.loss, settings_.outputs);
  if (!decision_.calibrated && !settings_.fit.any()) {
    collector_.add(batch.step, predicted, labels, loss, weight);
    return;
  }
  const at::Tensor plain = scores.to(at::kCPU, at::kFloat).contiguous();
  const float* first = plain.data_ptr<float>();
  RawMicroBatch raw{batch.step, {first, first + plain.numel()}, {labels.begin(), labels.end()}, loss, weight};
  check_finite(raw, batch, settings_.outputs);
  if (settings_.fit.any()) {
    held_.push_back(std::move(raw));
    return;
  }
  note_likelihood(raw);
  collector_.add(batch.step, predicted, labels, loss, weight);
}

void ScoreStage::note_likelihood(const RawMicroBatch& batch) {
  likelihoods_.push_back({batch.number, batch.labels.size(),
                          logit_sums(batch, settings_.outputs, 1 / decision_.temperature).nll,
                          logit_sums(batch, settings_.outputs, 1).nll});
}

Decision ScoreStage::decide(Communicator& comm) {
  if (!settings_.fit.any()) return decision_;
  if (settings_.fit.calibrate) {
    const TemperatureFit fit = fit_temperature(comm, held_, settings_.outputs);
    decision_.temperature = fit.temperature;
    if (!fit.remark.empty())
      decision_.remark = fmt::format("no temperature: on '{}' {}", settings_.split, fit.remark);
  }
  LossSettings loss = settings_.loss;
  loss.temperature = decision_.temperature;
  std::vector<std::vector<float>> predicted;
  for (const RawMicroBatch& raw : held_) predicted.push_back(probabilities(raw, settings_.outputs, loss));
  if (settings_.fit.threshold.rule != ThresholdRule::kNone) fit_threshold(comm, predicted);
  collector_.set_threshold(decision_.threshold);
  for (std::size_t i = 0; i < held_.size(); ++i) {
    const RawMicroBatch& raw = held_[i];
    if (decision_.calibrated) note_likelihood(raw);
    collector_.add(raw.number, predicted[i], raw.labels, raw.loss, raw.weight);
  }
  held_.clear();
  return decision_;
}

void ScoreStage::fit_threshold(Communicator& comm, std::span<const std::vector<float>> predicted) {
  std::vector<float> scores;
  std::vector<std::uint8_t> positive;
  for (std::size_t i = 0; i < held_.size(); ++i) {
    scores.insert(scores.end(), predicted[i].begin(), predicted[i].end());
    for (const double label : held_[i].labels) positive.push_back(label > 0.5 ? 1 : 0);
  }
  const auto threshold = choose_threshold(comm, scores, positive, settings_.fit.threshold);
  if (threshold) {
    decision_.threshold = *threshold;
    decision_.chosen_by = rule_name(settings_.fit.threshold.rule);
    return;
  }
  if (!decision_.remark.empty()) decision_.remark += "; ";
  decision_.remark += fmt::format("no threshold but evaluate.threshold: the rows of '{}' have one class only",
                                  settings_.split);
}

Json ScoreStage::more_metrics(Communicator& comm) const {
  Json metrics = settings_.resamples > 0 ? intervals(comm) : Json::object();
  if (!decision_.calibrated) return metrics;
  auto parts = gather<Likelihood>(comm, "likelihoods", likelihoods_);
  std::sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
  Likelihood total;
  for (const Likelihood& part : parts) {
    total.rows += part.rows;
    total.nll += part.nll;
    total.uncalibrated += part.uncalibrated;
  }
  const auto rows = static_cast<double>(total.rows);
  metrics["temperature"] = decision_.temperature;
  metrics["nll"] = json_number(total.nll / rows);
  metrics["nll_uncalibrated"] = json_number(total.uncalibrated / rows);
  return metrics;
}

Json ScoreStage::intervals(Communicator& comm) const {
  if (settings_.loss.kind != LossKind::kBinary) return Json::object();
  std::vector<std::uint64_t> rows;
  for (const MicroBatchSums& batch : collector_.micro_batches()) {
    for (std::uint64_t i = 0; i < batch.rows; ++i) rows.push_back(batch.number * settings_.micro_batch + i);
  }
  return interval_metrics(bootstrap_ranking(comm, collector_.scores(), collector_.positive(), rows,
                                            settings_.resamples, settings_.seed));
}

}  // namespace muster
