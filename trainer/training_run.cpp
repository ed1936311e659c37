#include "trainer/training_run.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/text.h"
#include "trainer/agreement.h"
#include "trainer/evaluator.h"
#include "trainer/metrics.h"
#include "trainer/model_setup.h"
#include "trainer/module_state.h"
#include "trainer/tensor_histograms.h"

namespace muster {
namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// How long a stop waits for a checkpoint that fails: who asked for it will not wait for ever.
constexpr double kStopPatience = 30;

}  // namespace

TrainingRun::TrainingRun(Communicator& comm, FileSystem& files, const TrainOptions& options,
                         Prepared prepared, std::unique_ptr<RunRecord> record,
                         const std::vector<TensorBlob>& optimizer_state)
    : comm_(comm),
      options_(options),
      files_(files),
      run_(std::move(prepared)),
      record_(std::move(record)),
      loss_(loss_settings(run_.config, run_.pipeline)),
      schedule_(schedule_settings(run_.config)),
      seed_(run_.config.unsigned_at("run", "seed")),
      bad_steps_(bad_step_rule(run_.config)) {
  best_by_ = best_metric(run_.config, run_.pipeline.targets().size());
  broadcast_module(run_.model->module(), comm_);
  optimizer_ = std::make_unique<Optimizer>(run_.model->module(), optimizer_settings(run_.config));
  restore(optimizer_state);
  const bool main_rank = comm_.rank() == 0;
  const std::filesystem::path directory = run_.start.at("directory").get<std::string>();
  stop_watch_ = std::make_unique<StopWatch>(
      options_.requests,
      main_rank ? end_of_job(options_.started, run_.config.number_at("train", "wall_seconds"),
                             options_.scheduler_end)
                : std::nullopt,
      main_rank ? std::optional(directory) : std::nullopt, files);
  CheckpointFrame frame{
      run_.start.at("directory").get<std::string>(), run_.start.at("generation").get<std::uint64_t>(),
      run_.start.at("resumed").get<bool>(), run_.pipeline.to_json(), run_.dataset.contract().to_yaml()};
  checkpoints_ = std::make_unique<TrainingCheckpoints>(
      comm_, files, run_.config, record_.get(), options_.log, std::move(frame),
      CheckpointSnapshot(module_tensors(run_.model->module()), optimizer_->tensors(), comm_.rank(),
                         comm_.size()));
}

void TrainingRun::set_step(std::uint64_t step) {
  step_ = step;
  if (options_.status != nullptr) options_.status->steps_done.store(step);
}

void TrainingRun::phase(const char* name) {
  if (options_.status == nullptr) return;
  options_.status->phase.store(name);
  const std::string_view now = name;
  options_.status->between_steps.store(now == "roll back" || now == "evaluate" || now == "checkpoint");
}

/// The first step pays for the start: it says nothing of how long one takes.
void TrainingRun::note_step(double seconds) {
  step_seconds_ = seconds;
  checkpoints_->note_step(seconds);
  if (options_.status == nullptr || steps_here_++ == 0) return;
  std::atomic<double>& slowest = options_.status->slowest_step_seconds;
  slowest.store(std::max(slowest.load(), seconds));
}

StepReport TrainingRun::forward_backward(const Batch& batch) {
  StepReport report;
  const std::uint64_t wanted = run_.config.unsigned_at("train", "micro_batch");
  const std::size_t micro_batch = wanted == 0 ? std::max<std::size_t>(1, batch.rows()) : wanted;
  reducer_->begin_step();
  run_.model->module().train();
  for (std::size_t first = 0; first < batch.rows(); first += micro_batch) {
    const std::size_t count = std::min(micro_batch, batch.rows() - first);
    const ModelBatch inputs(batch, first, count, true, seed_);
    const at::Tensor sums = run_.model->loss(run_.model->forward(inputs), inputs, loss_);
    if (first + count == batch.rows()) reducer_->ready();
    sums[0].backward();
    report.loss += sums[0].item<double>();
    report.weight += sums[1].item<double>();
  }
  report.rows = batch.rows();
  for (std::size_t row = 0; row < batch.rows(); ++row) {
    const RowId id = batch.ids()[row];
    report.digest += sample_hash(id.partition, id.row, batch.positions()[row]);
  }
  return report;
}

StopReason TrainingRun::stop_wanted() {
  return stop_watch_->now(checkpoints_->needed_seconds() + step_seconds_);
}

/// False if the step was bad and the run goes back for it.
bool TrainingRun::one_step() {
  const auto began = Clock::now();
  meter_->begin_step(waits());
  phase("data");
  const Batch* batch = stream_->next();
  ensure(batch != nullptr && batch->step == step_, "the stream is at another step than the loop ({})", step_);
  phase("compute");
  StepReport report = forward_backward(*batch);
  phase("communicate");
  reducer_->start_rest();
  report.stop = static_cast<std::uint8_t>(stop_wanted());
  if (options_.requests != nullptr) report.save = options_.requests->save.exchange(false);
  if (comm_.rank() == 0 && checkpoints_->due_by_clock()) report.save = true;
  last_ = exchange_reports(comm_, report, checkpoints_->news());
  checkpoints_->take(last_.news);
  reducer_->finish(last_.weight);
  phase("update");
  if (!update()) return false;
  reducer_->replan_once();

  set_step(step_ + 1);
  if ((step_ - 1) % run_.plan.steps_per_epoch == 0) epoch_rows_ = 0;
  epoch_rows_ += last_.rows;
  running_ = chain(running_, last_.digest);
  log_step(last_);
  const std::uint64_t compare = run_.config.unsigned_at("train", "compare_every_steps");
  if (compare > 0 && step_ % compare == 0) compare_weights();
  note_step(seconds_since(began));
  phase("between steps");
  return true;
}

double TrainingRun::mean_loss() const {
  if (last_.first_not_finite >= 0) return std::numeric_limits<double>::quiet_NaN();
  return last_.weight > 0 ? last_.loss / last_.weight : 0;
}

/// Applies the gradients, unless the step is a bad one: what is decided follows from numbers that all ranks
/// have. False: the run goes back.
bool TrainingRun::update() {
  const bool histograms = record_ != nullptr && record_->sinks().wants_histograms(step_ + 1);
  if (histograms) record_->sinks().histograms(step_ + 1, gradient_histograms(run_.model->module()));
  gradient_norm_ = optimizer_->clip(run_.config.number_at("train", "clip_norm"));
  rate_ = learning_rate(schedule_, run_.config.number_at("optimizer", "learning_rate"), step_);
  if (bad_steps_.left_out(step_)) return true;
  std::optional<std::string> bad = bad_steps_.judge(mean_loss());
  if (bad && last_.first_not_finite >= 0)
    bad = fmt::format("the loss is not finite on rank {} of {}", last_.first_not_finite, comm_.size());
  if (!bad && !std::isfinite(gradient_norm_)) bad = "the loss is finite, its gradients are not";
  if (bad) return take_bad_step(*bad);
  bad_steps_.good(mean_loss());
  optimizer_->step(rate_);
  if (histograms) record_->sinks().histograms(step_ + 1, weight_histograms(run_.model->module()));
  return true;
}

/// False: the run goes back for it.
bool TrainingRun::take_bad_step(const std::string& why) {
  const BadStepPolicy policy = bad_steps_.rule().policy;
  const bool goes_on = policy == BadStepPolicy::kSkip       ? bad_steps_.skip()
                       : policy == BadStepPolicy::kRollBack ? bad_steps_.roll_back(step_)
                                                            : false;
  if (!goes_on) {
    const std::string many = policy == BadStepPolicy::kStop
                                 ? ""
                                 : fmt::format(" (bad step number {}, train.most_bad_steps is {})",
                                               bad_steps_.count(), bad_steps_.rule().most);
    throw AgreedError(
        Error(ErrorCode::kData,
              fmt::format("step {}: {}{}: lower optimizer.learning_rate, set train.clip_norm, or "
                          "look at the data",
                          step_, why, many)),
        comm_.rank() == std::max(0, last_.first_not_finite));
  }
  const bool skips = policy == BadStepPolicy::kSkip;
  if (skips) {
    event("step_skipped", {{"reason", why}, {"bad_steps", bad_steps_.count()}});
  } else {
    event("roll_back_wanted", {{"reason", why}, {"bad_steps", bad_steps_.count()}});
  }
  if (comm_.rank() == 0) {
    options_.log(LogLevel::kWarning,
                 fmt::format("step {}: {}: {}", step_, why,
                             skips ? "its update is left out" : "back to the last checkpoint"));
  }
  return skips;
}

/// A failure here is this rank's alone, while the others wait in a collective that it will never join.
void TrainingRun::guarded(const std::function<void()>& body) {
  const auto alone = [&](const Error& error) {
    if (options_.on_lone_failure) options_.on_lone_failure(error);
    throw error;
  };
  const auto first_line = [](std::string_view text) { return std::string(text.substr(0, text.find('\n'))); };
  try {
    body();
  } catch (const AgreedError&) {
    throw;
  } catch (const Error& error) {
    alone(Error(error.code(), fmt::format("step {}: {}", step_, error.message()), error.where()));
  } catch (const std::exception& error) {
    alone(Error(ErrorCode::kBug, fmt::format("step {}: {}", step_, first_line(error.what()))));
  }
}

void TrainingRun::log_step(const StepTotals& totals) {
  const double loss = mean_loss();
  meter_->end_step(totals.rows, waits());
  event("step", {{"epoch", (step_ - 1) / run_.plan.steps_per_epoch},
                 {"epoch_rows", epoch_rows_},
                 {"rows", totals.rows},
                 {"loss", json_number(loss)},
                 {"learning_rate", rate_},
                 {"gradient_norm", json_number(gradient_norm_)},
                 {"digest", totals.digest.hex()},
                 {"running_digest", running_.hex()}});
  const bool due =
      step_ % run_.config.unsigned_at("log", "every_steps") == 0 || step_ == run_.plan.total_steps;
  if (!due) return;
  const Progress progress = meter_->line(step_, loss);
  if (record_ != nullptr) record_->sinks().progress(progress);
  if (comm_.rank() == 0 && options_.progress) options_.progress(progress);
}

Waits TrainingRun::waits() const { return {stream_->wait_seconds(), comm_.wait_seconds()}; }

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
  if (comm_.rank() == 0) {
    event("evaluated", {{"split", split}, {"metrics", metrics}});
    options_.log(LogLevel::kInfo, fmt::format("step {}: {} {}", step_, split, metrics_line(metrics)));
  }
  const auto value = metrics.find(best_by_);
  if (value == metrics.end()) {
    fail(ErrorCode::kConfig, "evaluate.best_by is '{}', which this loss has not", best_by_);
  }
  improved_ = false;
  if (!value->is_number()) {  // says nothing of the model: neither better nor worse
    if (comm_.rank() == 0)
      options_.log(
          LogLevel::kWarning,
          fmt::format("step {}: '{}' has no {}, as its rows are of one class: no checkpoint is chosen "
                      "by it, and stop_early does not count it",
                      step_, split, best_by_));
    return;
  }
  const bool larger = larger_is_better(best_by_);
  const bool better = best_.is_null() || (larger ? *value > best_.at("value") : *value < best_.at("value"));
  evaluations_without_better_ = better ? 0 : evaluations_without_better_ + 1;
  improved_ = better;
  if (!better) return;
  best_before_ = best_;
  best_ = {{"metric", best_by_}, {"value", *value}, {"step", step_}, {"checkpoint", ""}};
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

/// False if it was interrupted by a stop request.
bool TrainingRun::evaluate_now() {
  EvaluateSettings settings;
  settings.split = run_.config.text_at("evaluate", "split");
  settings.micro_batch = static_cast<std::uint32_t>(run_.config.unsigned_at("evaluate", "micro_batch"));
  settings.threshold = run_.config.number_at("evaluate", "threshold");
  settings.loss = loss_;
  settings.outputs = model_outputs(run_.dataset.contract(), loss_.kind, run_.pipeline.targets());
  settings.targets = target_names(run_.pipeline);
  settings.stream = evaluation_stream(run_.config, run_.plan);
  settings.fit = decision_settings(run_.config);
  const auto stop = [&] { return stop_wanted() != StopReason::kNone; };
  phase("evaluate");
  std::optional<Evaluation> done;
  guarded([&] { done = evaluate_split(comm_, *run_.model, run_.dataset, run_.pipeline, settings, stop); });
  if (!done) return false;
  take_metrics(done->metrics);
  take_decision(std::move(done->decision));
  return true;
}

/// The last step was done, or the evaluations stopped getting better; its checkpoint is the one that says so.
bool TrainingRun::finished() const {
  const std::uint64_t patience = run_.config.unsigned_at("evaluate", "stop_early");
  return step_ >= run_.plan.total_steps || (patience > 0 && evaluations_without_better_ >= patience);
}

TrainingRun::After TrainingRun::after_step() {
  bool stopping = last_.stop != 0;
  if (!stopping && evaluation_due()) stopping = !evaluate_now();
  if (finished() && !(stopping && evaluation_due())) return After::kGoOn;
  if (stopping || last_.save || improved_ || checkpoints_->due_by_step(step_)) begin_checkpoint();
  return stopping ? After::kStop : After::kGoOn;
}

void TrainingRun::event(const std::string& name, const Json& fields) {
  if (record_ != nullptr) record_->event(name, step_, fields);
}

TrainResult TrainingRun::result(TrainOutcome outcome) const {
  TrainResult result;
  result.outcome = outcome;
  result.directory = run_.start.at("directory").get<std::string>();
  result.checkpoint = checkpoints_->last();
  result.running_digest = running_.hex();
  result.stop_reason = stop_reason_;
  result.metrics = metrics_;
  result.plan = run_.plan.to_json();
  return result;
}

/// After the checkpoint that answers a stop request was begun.
TrainResult TrainingRun::stopped() {
  checkpoints_->settle(kStopPatience);
  comm_.barrier("stopped");
  stop_watch_->answered(options_.log);
  StopReason reason = std::max(static_cast<StopReason>(last_.stop), stop_wanted());
  if (reason == StopReason::kNone) reason = StopReason::kSignal;  // another rank's, in an evaluation
  stop_reason_ = to_text(reason);
  event("stopped",
        {{"checkpoint", checkpoints_->last()}, {"reason", stop_reason_}, {"running_digest", running_.hex()}});
  return result(TrainOutcome::kStopped);
}

/// What is due before the first step. False if it was interrupted by a stop request.
bool TrainingRun::catch_up() {
  if (run_.start.at("state").is_null()) {  // from here on there is always a loadable one
    begin_checkpoint();
    checkpoints_->settle();
  }
  const bool parent_is_gone = run_.start.at("parent_is_gone").get<bool>();
  if (!evaluation_due()) {
    if (parent_is_gone && !finished()) begin_checkpoint();
    return true;
  }
  if (!evaluate_now()) {
    begin_checkpoint();
    return false;
  }
  if (parent_is_gone || (improved_ && decision_settings(run_.config).any())) {
    // What was fitted belongs into a checkpoint of these weights; the last one is about to be made.
    if (!finished()) begin_checkpoint();
  } else if (improved_) {
    // The stop came before this step's evaluation: the weights stand in the checkpoint it left behind.
    best_["checkpoint"] = run_.start.at("parent");
    improved_ = false;
  }
  return true;
}

TrainResult TrainingRun::run() {
  try {
    return run_to_end();
  } catch (const AgreedError&) {
    checkpoints_->finish_under_way();
    throw;
  }
}

TrainResult TrainingRun::run_to_end() {
  if (!catch_up()) return stopped();
  while (!finished()) {
    bool done = false;
    guarded([&] { done = one_step(); });
    if (!done) {
      guarded([&] { roll_back(); });
      continue;
    }
    if (after_step() == After::kStop) return stopped();
  }
  begin_checkpoint(/*finished=*/true);
  checkpoints_->settle();
  event("run_finished", {{"checkpoint", checkpoints_->last()},
                         {"running_digest", running_.hex()},
                         {"best", best_},
                         {"stopped_early", step_ < run_.plan.total_steps}});
  comm_.barrier("finished");
  return result(TrainOutcome::kFinished);
}

}  // namespace muster
