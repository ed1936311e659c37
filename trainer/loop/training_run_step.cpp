// One step of a training: forward, backward, verdict, update.

#include <torch/torch.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "core/process_memory.h"
#include "core/text.h"
#include "models/host_copy.h"
#include "trainer/gradients/frozen.h"
#include "trainer/loop/model_setup.h"
#include "trainer/loop/training_run.h"
#include "trainer/runlog/flop_counter.h"

namespace muster {

/// As Model::loss.
at::Tensor TrainingRun::forward(const ModelBatch& inputs) {
  const TraceSpan span(trace_.get(), "forward", "autograd");
  if (steps_here_ > 0) return run_.model->loss(run_.model->forward(inputs), inputs, loss_);
  const FlopCounter counter;
  at::Tensor sums = run_.model->loss(run_.model->forward(inputs), inputs, loss_);
  efficiency_.note_forward(counter.count());
  return sums;
}

BatchTensors TrainingRun::tensors_of(const Batch& batch) {
  const std::optional<BatchTensors> ahead = std::exchange(ahead_, std::nullopt);
  if (!ahead || !ahead->are_of(batch)) return {batch, run_.device};
  CopyStream::join(*ahead);
  return *ahead;
}

/// While the GPU computes this step, where the next one's data are there already.
void TrainingRun::copy_ahead() {
  if (copies_ == nullptr) return;
  if (const Batch* const next = data_->stream->ahead()) ahead_ = copies_->copy(*next);
}

StepReport TrainingRun::forward_backward(const Batch& batch) {
  StepReport report;
  SumOverRanks sum;
  if (together_ == RowsTogether::kAll)
    sum = [this](std::span<double> values) { comm_.all_reduce_sum("batch norm", values); };
  const auto places = [this](const at::Tensor& parameter) { return reducer_->place(parameter); };
  reducer_->begin_step();
  set_training(run_.model->module());
  const std::uint64_t most = run_.config.unsigned_at("train", "micro_batch");
  if (steps_here_ == 0) efficiency_.begin_forward();
  const BatchTensors tensors = tensors_of(batch);
  at::Tensor totals;
  std::optional<HostCopy> on_host;
  for (const RowRange& rows : micro_batches(batch.lanes(), most, together_)) {
    const ModelBatch inputs(tensors, rows.first, rows.count, true, seed_, sum, places);
    const at::Tensor sums = forward(inputs);
    totals = totals.defined() ? totals + sums.detach() : sums.detach();
    if (rows.first + rows.count == batch.rows()) {
      reducer_->ready();
      on_host.emplace(totals.to(at::kDouble));  // a GPU brings it before the backward pass
      batch_norms_.fetch();
    }
    const TraceSpan span(trace_.get(), "backward", "autograd");
    loss_gradient_.backward(sums, loss_scale_.value() / expected_weight_);
  }
  report.rows = batch.rows();
  for (std::size_t row = 0; row < batch.rows(); ++row) {
    const RowId id = batch.ids()[row];
    report.digest += sample_hash(id.partition, id.row, batch.positions()[row]);
    report.passed_over += batch.bad()[row];
  }
  copy_ahead();
  if (on_host) {
    report.loss = on_host->values<double>()[0];
    report.weight = on_host->values<double>()[1];
  }
  return report;
}

/// What this rank gives to a step that it has no data for, and that is not done therefore.
StepReport TrainingRun::without_batch() {
  StepReport report;
  if (together_ == RowsTogether::kAll) {  // the others' passes wait for this rank's
    Batch none(run_.pipeline.tensors(), 0, aligned_allocator());
    none.step = step_;
    report = forward_backward(none);
  } else {
    reducer_->begin_step();
  }
  report.without_batch = true;
  return report;
}

/// Those of batch norms, from what all ranks' rows of this step gave.
void TrainingRun::update_running_statistics() {
  if (batch_norms_.empty()) return;
  std::vector<double> sums = batch_norms_.take();
  comm_.all_reduce_sum("batch norm statistics", std::span(sums));
  const std::uint64_t lanes = batch_norms_.apply(sums);
  if (lanes == 0) return;
  event("batch_norm_without_rows", {{"times", lanes}});
  if (comm_.rank() == 0 && !std::exchange(told_of_few_rows_, true)) {
    options_.log(
        LogLevel::kWarning,
        fmt::format("step {}: {} times a batch norm had fewer than 2 values and took its running statistics "
                    "(others that follow: events.jsonl); fewer batch.lanes give each more rows",
                    step_, lanes));
  }
}

namespace {

float seconds_between(std::chrono::steady_clock::time_point from,
                      std::chrono::steady_clock::time_point until) {
  return std::chrono::duration<float>(until - from).count();
}

}  // namespace

void TrainingRun::tell_stragglers() {
  if (steps_here_ == 0) return;  // the first step pays for the start
  const std::optional<Straggler> slow = stragglers_.note(last_.seconds);
  if (!slow) return;
  event("straggler", {{"rank", slow->rank},
                      {"phase", slow->phase},
                      {"seconds", slow->seconds},
                      {"usual_seconds", slow->usual}});
  if (comm_.rank() == 0)
    options_.log(
        LogLevel::kWarning,
        fmt::format(
            "step {}: rank {} is slow: {} a step in phase '{}', where ranks usually take {}; all wait for it",
            step_, slow->rank, human_seconds(slow->seconds), slow->phase, human_seconds(slow->usual)));
}

/// One that float32 gradients can be divided by without losing them.
void TrainingRun::expect_weight(double weight) {
  if (weight > 1e-20 && weight < 1e20) expected_weight_ = weight;
}

/// Null where a stop is wanted before the data come.
const Batch* TrainingRun::next_batch() {
  phase(RankPhase::kData);
  if (!data_->stream->wait([&] { return stop_wanted(/*waits=*/true) != StopReason::kNone; })) return nullptr;
  const Batch* batch = data_->stream->next();
  ensure(batch != nullptr && batch->step == step_, "the stream is at another step than the loop ({})", step_);
  return batch;
}

/// Some rank has no data, and all stop: what the others computed counts for nothing.
void TrainingRun::end_step_without_batch() {
  reducer_->finish(1);
  buffers_->restore();
  if (comm_.rank() == 0) {
    options_.log(LogLevel::kWarning, fmt::format("step {}: stopped while rank {} still waited for its data",
                                                 step_, last_.first_without_batch));
  }
  phase(RankPhase::kBetweenSteps);
}

TrainingRun::Step TrainingRun::one_step() {
  const auto began = Clock::now();
  if (trace_ != nullptr) trace_->at_step(step_);
  const Waits before = waits();
  meter_->begin_step(before);
  buffers_->save();
  batch_norms_.clear();
  const Batch* batch = next_batch();
  phase(RankPhase::kCompute);
  const auto has_data = Clock::now();
  StepReport report;
  if (batch != nullptr) {
    if (options_.before_step) options_.before_step(steps_here_, run_.model->module());
    report = forward_backward(*batch);
  } else {
    report = without_batch();
  }
  report.seconds = {seconds_between(began, has_data), seconds_between(has_data, Clock::now())};
  phase(RankPhase::kCommunicate);
  reducer_->start_rest();
  report.stop = static_cast<std::uint8_t>(stop_wanted(/*waits=*/report.without_batch));
  if (options_.requests != nullptr) report.save = options_.requests->save.exchange(false);
  if (comm_.rank() == 0 && checkpoints_->due_by_clock()) report.save = true;
  const std::string found = batch != nullptr ? bad_rows_text(data_->stream->found()) : "";
  last_ = exchange_reports(comm_, report, {checkpoints_->news(), found});
  checkpoints_->take(last_.checkpoint);
  take_bad_rows(bad_rows_of(last_.bad_rows));
  if (last_.first_without_batch >= 0) {
    end_step_without_batch();
    return Step::kNoBatch;
  }
  tell_stragglers();
  reducer_->finish(last_.weight / expected_weight_ * loss_scale_.value());
  expect_weight(last_.weight);
  update_running_statistics();
  phase(RankPhase::kUpdate);
  if (!update()) return Step::kGoBack;
  reducer_->replan_once();

  set_step(step_ + 1);
  if ((step_ - 1) % run_.plan.steps_per_epoch == 0) epoch_rows_ = 0;
  epoch_rows_ += last_.rows;
  running_ = chain(running_, last_.digest);
  if (steps_here_ == 0) count_operations();
  log_step(last_);
  const std::uint64_t compare = run_.config.unsigned_at("train", "compare_every_steps");
  if (compare > 0 && step_ % compare == 0) compare_weights();
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  efficiency_.note_step(last_.rows, seconds, waits() - before, last_.seconds);
  note_step(seconds);
  phase(RankPhase::kBetweenSteps);
  if (trace_ != nullptr && trace_->ends_at(step_)) end_trace();
  return Step::kDone;
}

double TrainingRun::mean_loss() const {
  const bool nothing = last_.rows > 0 && last_.passed_over == last_.rows;
  if (last_.first_not_finite >= 0 || nothing) return std::numeric_limits<double>::quiet_NaN();
  return last_.weight > 0 ? last_.loss / last_.weight : 0;
}

/// In this start's first step.
void TrainingRun::count_operations() {
  double peak = 0;
  if (run_.device.gpu) {
    peak = peak_flops(options_.gpus->gpus->info(run_.device.index).name,
                      run_.config.text_at("train", "precision"));
  }
  efficiency_.count_operations(comm_, last_.rows, peak);
}

/// After this start's first step, before evaluations, and at the end.
void TrainingRun::tell_efficiency() {
  const ProcessMemory memory = process_memory();
  RankUse mine{memory.resident_bytes, memory.peak_bytes, 0, comm_.gpu_wait_seconds()};
  if (run_.device.gpu) mine.gpu_peak_bytes = options_.gpus->gpus->peak_bytes(run_.device.index);
  const auto figures = efficiency_.take(comm_, mine);
  if (!figures) return;
  const double since_start = std::chrono::duration<double>(Clock::now() - options_.started).count();
  event("efficiency",
        {{"steps", figures->steps},
         {"step_seconds", figures->step_seconds},
         {"flops_per_step", figures->flops_per_step},
         {"flops_per_second", figures->flops_per_second},
         {"model_flops_utilization", figures->utilization ? Json(*figures->utilization) : Json(nullptr)},
         {"data_share", figures->data_share},
         {"communication_share", figures->communication_share},
         {"skew", figures->skew},
         {"resident_bytes", figures->resident_bytes},
         {"peak_bytes", figures->peak_bytes},
         {"gpu_peak_bytes", figures->gpu_peak_bytes},
         {"gpu_wait_shares", figures->gpu_wait_shares},
         {"seconds_since_start", since_start}});
  if (comm_.rank() != 0 || steps_here_ != 1) return;
  options_.log(
      LogLevel::kInfo,
      fmt::format(
          "first step {} after the start; a row is {} floating-point operations, forward and backward; "
          "{} resident on the fullest rank",
          human_seconds(since_start), human_count(static_cast<std::uint64_t>(efficiency_.flops_per_row())),
          human_bytes(std::ranges::max(figures->resident_bytes))));
}

/// The first step pays for the start: it says nothing of how long one takes.
void TrainingRun::note_step(double seconds) {
  step_seconds_ = seconds;
  checkpoints_->note_step(seconds);
  if (steps_here_++ == 0 || options_.status == nullptr) return;
  std::atomic<double>& slowest = options_.status->slowest_step_seconds;
  slowest.store(std::max(slowest.load(), seconds));
}

void TrainingRun::log_step(const StepTotals& totals) {
  const double loss = mean_loss();
  meter_->end_step(totals.rows, waits());
  event("step", {{"epoch", (step_ - 1) / run_.plan.steps_per_epoch},
                 {"epoch_rows", epoch_rows_},
                 {"rows", totals.rows},
                 {"passed_over", totals.passed_over},
                 {"loss", json_number(loss)},
                 {"learning_rate", rate_},
                 {"gradient_norm", json_number(gradient_norm_)},
                 {"digest", totals.digest.hex()},
                 {"running_digest", running_.hex()}});
  const bool due =
      step_ % run_.config.unsigned_at("log", "every_steps") == 0 || step_ == run_.plan.total_steps;
  if (!due) return;
  Progress progress = meter_->line(step_, loss);
  progress.flops_per_second = progress.samples_per_second * efficiency_.flops_per_row();
  if (efficiency_.peak() > 0) progress.utilization = progress.flops_per_second / efficiency_.peak();
  if (record_ != nullptr) record_->sinks().progress(progress);
  if (comm_.rank() == 0 && options_.progress) options_.progress(progress);
}

Waits TrainingRun::waits() const { return {data_->stream->wait_seconds(), comm_.wait_seconds()}; }

}  // namespace muster
