// Evaluations of a training under way, and what follows from them: the best checkpoint, the decision.

#include <algorithm>

#include "core/text.h"
#include "trainer/config/metric_names.h"
#include "trainer/evaluation/evaluator.h"
#include "trainer/evaluation/metrics.h"
#include "trainer/loop/model_setup.h"
#include "trainer/loop/training_run.h"

namespace muster {

bool TrainingRun::evaluation_due() const {
  if (step_ == 0 || evaluated_step_ == step_ || run_.config.text_at("evaluate", "split").empty())
    return false;
  const std::uint64_t every = run_.config.unsigned_at("evaluate", "every_steps");
  return step_ == run_.plan.total_steps || step_ % (every > 0 ? every : run_.plan.steps_per_epoch) == 0;
}

void TrainingRun::take_metrics(const Json& metrics) {
  const std::string split = run_.config.text_at("evaluate", "split");
  evaluated_step_ = step_;
  metrics_[split] = metrics;
  const auto value = metrics.find(best_by_);
  if (value == metrics.end())
    fail(ErrorCode::kConfig, "evaluate.best_by is '{}', which this loss has not", best_by_);
  improved_ = value->is_number() && improves(value->get<double>());
  if (improved_) {
    best_before_ = best_;
    best_ = {{"metric", best_by_}, {"value", *value}, {"step", step_}, {"checkpoint", ""}};
  }
  if (value->is_number()) evaluations_without_better_ = improved_ ? 0 : evaluations_without_better_ + 1;
  if (comm_.rank() != 0) return;
  event("evaluated", {{"split", split}, {"metrics", metrics}, {"best", best_metric_yet()}});
  options_.log(LogLevel::kInfo, fmt::format("step {}: {} {}", step_, split, metrics_line(metrics)));
  if (value->is_number()) return;
  options_.log(LogLevel::kWarning,
               fmt::format("step {}: '{}' has no {}, as its rows are of one class: no checkpoint is chosen "
                           "by it, and stop_early does not count it",
                           step_, split, best_by_));
}

bool TrainingRun::improves(double value) const {
  if (best_.is_null()) return true;
  const double before = best_.at("value").get<double>();
  return larger_is_better(best_by_) ? value > before : value < before;
}

Json TrainingRun::best_metric_yet() const {
  if (best_.is_null()) return nullptr;
  return {{"metric", best_.at("metric")}, {"value", best_.at("value")}, {"step", best_.at("step")}};
}

void TrainingRun::take_decision(Decision decision) {
  if (decision.split.empty()) {
    decision_ = nullptr;
    return;
  }
  decision.step = step_;
  if (comm_.rank() == 0 && !decision.remark.empty()) options_.log(LogLevel::kWarning, decision.remark);
  decision_ = decision.to_json();
}

namespace {

/// While it lives the module has the averages.
class AveragedWeights {
 public:
  explicit AveragedWeights(WeightAverage* average) : average_(average) {
    if (average_ != nullptr) average_->exchange();
  }
  ~AveragedWeights() {
    if (average_ != nullptr) average_->exchange();
  }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  WeightAverage* average_;
};

}  // namespace

/// False if it was interrupted by a stop request.
bool TrainingRun::evaluate_now() {
  EvaluateSettings settings;
  settings.split = run_.config.text_at("evaluate", "split");
  settings.micro_batch = static_cast<std::uint32_t>(run_.config.unsigned_at("evaluate", "micro_batch"));
  settings.threshold = run_.config.number_at("evaluate", "threshold");
  settings.loss = loss_;
  settings.outputs = model_outputs(run_.dataset.contract(), loss_.kind, run_.pipeline.targets());
  settings.label_shape = label_shape(run_.dataset.contract(), run_.pipeline.targets());
  settings.targets = target_names(run_.pipeline);
  settings.stream = with_quarantine(evaluation_stream(run_.config, run_.plan), bad_row_rule_,
                                    BadRowPolicy::kDrop, data_->quarantine);
  settings.fit = decision_settings(run_.config);
  settings.device = run_.device;
  const auto stop = [&](bool waits) { return stop_wanted(waits); };
  phase(RankPhase::kEvaluate);
  EvaluationEnd ended;
  const AveragedWeights averaged(average_.get());
  guarded([&] { ended = evaluate_split(comm_, *run_.model, run_.dataset, run_.pipeline, settings, stop); });
  evaluation_stop_ = ended.stop;
  evaluation_reads_ = ended.still_reading;
  std::optional<Evaluation>& done = ended.evaluation;
  if (!done) return false;
  take_bad_rows(done->bad_rows);
  take_metrics(done->metrics);
  take_decision(std::move(done->decision));
  return true;
}

}  // namespace muster
