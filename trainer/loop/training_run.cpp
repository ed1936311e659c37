#include "trainer/loop/training_run.h"

#include <algorithm>
#include <utility>

#include "core/text.h"
#include "trainer/checkpoint/module_state.h"
#include "trainer/comm/agreement.h"
#include "trainer/evaluation/metrics.h"
#include "trainer/loop/model_setup.h"
#include "trainer/loop/out_of_memory.h"

namespace muster {
namespace {

/// How long a stop waits for a checkpoint that fails: who asked for it will not wait for ever.
constexpr double kStopPatience = 30;

}  // namespace

TrainingRun::TrainingRun(Communicator& comm, FileSystem& files, const TrainOptions& options,
                         Prepared prepared, std::unique_ptr<RunRecord> record,
                         const std::vector<TensorBlob>& optimizer_state)
    : comm_(comm),
      options_(options),
      files_(files),
      prepared_(std::make_shared<Prepared>(std::move(prepared))),
      run_(*prepared_),
      record_(std::move(record)),
      loss_(loss_settings(run_.config, run_.pipeline)),
      schedule_(schedule_settings(run_.config)),
      seed_(run_.config.unsigned_at("run", "seed")),
      loss_scale_(first_loss_scale(run_.config)),
      batch_norms_(run_.model->module()),
      together_(rows_together(batch_norms_)),
      bad_steps_(bad_step_rule(run_.config)),
      bad_row_rule_(bad_row_rule(run_.config)) {
  data_ = std::make_shared<TrainingData>();
  data_->run = prepared_;
  best_by_ = best_metric(run_.config, run_.dataset.contract(), run_.pipeline.targets());
  broadcast_module(run_.model->module(), comm_);
  move_to(run_.model->module(), run_.device);
  if (run_.device.gpu) copies_ = std::make_unique<CopyStream>(run_.device);
  buffers_ = std::make_unique<BufferKeeper>(run_.model->module());
  optimizer_ = std::make_unique<Optimizer>(run_.model->module(), optimizer_settings(run_.config));
  start_trace();
  restore(optimizer_state);
  const std::filesystem::path directory = run_.start.at("directory").get<std::string>();
  const double since_start = std::chrono::duration<double>(Clock::now() - options_.started).count();
  stop_watch_ = std::make_unique<StopWatch>(
      options_.requests,
      end_of_job(options_.started, options_.wall_clock() - since_start,
                 run_.config.number_at("train", "wall_seconds"), options_.scheduler_end),
      directory, files);
  make_checkpoints();
}

void TrainingRun::set_step(std::uint64_t step) {
  step_ = step;
  if (options_.status != nullptr) options_.status->steps_done.store(step);
}

void TrainingRun::phase(RankPhase now) {
  if (options_.status != nullptr) options_.status->phase.store(now);
  phase_span_.reset();
  if (trace_ != nullptr) phase_span_.emplace(trace_.get(), to_text(now), "loop");
}

void TrainingRun::start_trace() {
  const auto range = parse_trace_range(run_.config.text_at("log", "trace"));
  if (!range || run_.start.at("step").get<std::uint64_t>() >= range->last) return;
  std::function<Trace::EndProfile()> kernels;
  if (run_.device.gpu)
    kernels = [] {
      return [profile = std::make_shared<KernelProfile>(KernelProfile::Of::kKernels)] {
        return profile->finish_kernels();
      };
    };
  trace_ = std::make_shared<Trace>(comm_, *range, kernels);
  comm_.observe(
      [trace = trace_](std::string_view name, Trace::Clock::time_point from, Trace::Clock::time_point until) {
        trace->span(name, "communication", from, until);
      });
}

/// Collective. After the last step that was wanted, or that is done.
void TrainingRun::end_trace() {
  phase_span_.reset();
  const std::shared_ptr<Trace> trace = std::exchange(trace_, nullptr);
  if (trace == nullptr) return;
  comm_.observe({});
  const std::string text = trace->gather_file(comm_);
  if (comm_.rank() != 0) return;
  const auto path = std::filesystem::path(run_.start.at("directory").get<std::string>()) /
                    fmt::format("trace-{}.json", step_);
  const auto written = attempt([&] {
    files_.replace(path, text);
    return true;
  });
  options_.log(written ? LogLevel::kInfo : LogLevel::kWarning,
               written ? fmt::format("what the ranks did in the steps to {}: {} (open it at ui.perfetto.dev)",
                                     step_, path.string())
                       : written.error().what());
}

/// Why this rank wants to stop. Time and stop file are rank 0's to look at, but for a rank that `waits`
/// alone.
StopReason TrainingRun::stop_wanted(bool waits) {
  if (comm_.rank() != 0 && !waits) return stop_watch_->told();
  return stop_watch_->now(checkpoints_->needed_seconds() + step_seconds_);
}

/// A failure here is this rank's alone, while the others wait in a collective that it will never join.
void TrainingRun::guarded(const std::function<void()>& body) {
  const auto alone = [&](const Error& error) {
    if (options_.on_lone_failure) options_.on_lone_failure(error);
    throw error;
  };
  try {
    body();
  } catch (const AgreedError&) {
    throw;
  } catch (const Error& error) {
    alone(Error(error.code(), fmt::format("step {}: {}", step_, error.message()), error.where()));
  } catch (const std::exception& error) {
    if (const auto memory = as_out_of_memory(error))
      alone(Error(memory->code(), fmt::format("step {}: {}", step_, memory->message())));
    alone(Error(ErrorCode::kBug, fmt::format("step {}: {}", step_, first_line(error.what()))));
  }
}

/// The last step was done, or the evaluations stopped getting better; its checkpoint is the one that says so.
bool TrainingRun::finished() const {
  const std::uint64_t patience = run_.config.unsigned_at("evaluate", "stop_early");
  return step_ >= run_.plan.total_steps || (patience > 0 && evaluations_without_better_ >= patience);
}

TrainingRun::After TrainingRun::after_step() {
  if (steps_here_ == 1 || evaluation_due() || finished()) tell_efficiency();
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
  end_trace();
  comm_.barrier("stopped");
  stop_watch_->answered(options_.log);
  stop_reason_ = to_text(std::max({static_cast<StopReason>(last_.stop), evaluation_stop_, stop_wanted()}));
  event("stopped",
        {{"checkpoint", checkpoints_->last()}, {"reason", stop_reason_}, {"running_digest", running_.hex()}});
  return result(TrainOutcome::kStopped);
}

/// What is due before the first step. False if it was interrupted by a stop request.
bool TrainingRun::catch_up() {
  if (run_.start.at("state").is_null()) {  // from here on there is always a loadable one
    if (comm_.size() > 1 && run_.config.unsigned_at("train", "bucket_bytes") == 0)
      guarded([&] { tune_buckets(); });
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

void TrainingRun::stop_reading(const std::function<void(std::shared_ptr<void>)>& keep) {
  if (!keep) return;
  using Held = std::pair<std::shared_ptr<TrainingData>, std::shared_ptr<void>>;
  const bool quiet = data_->stream == nullptr || data_->stream->stop_reading();
  if (!quiet || evaluation_reads_ != nullptr) keep(std::make_shared<Held>(data_, evaluation_reads_));
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
    Step step = Step::kDone;
    guarded([&] { step = one_step(); });
    if (step == Step::kNoBatch) {
      if (!checkpoints_->begun(step_)) begin_checkpoint();
      return stopped();
    }
    if (step == Step::kGoBack) {
      guarded([&] { roll_back(); });
    } else if (after_step() == After::kStop) {
      return stopped();
    }
  }
  begin_checkpoint(/*finished=*/true);
  checkpoints_->settle();
  event("run_finished", {{"checkpoint", checkpoints_->last()},
                         {"running_digest", running_.hex()},
                         {"best", best_},
                         {"stopped_early", step_ < run_.plan.total_steps}});
  end_trace();
  comm_.barrier("finished");
  return result(TrainOutcome::kFinished);
}

}  // namespace muster
