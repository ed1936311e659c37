// What a training keeps in its checkpoints, and finds again.

#include <torch/torch.h>

#include <algorithm>
#include <iterator>

#include "data_loader/reading/hooked_block_reader.h"
#include "trainer/checkpoint/module_state.h"
#include "trainer/checkpoint/tensor_exchange.h"
#include "trainer/comm/agreement.h"
#include "trainer/loop/desync.h"
#include "trainer/loop/model_setup.h"
#include "trainer/loop/training_run.h"

namespace muster {

/// A checkpoint's model is the average, where one was kept, and the module has been set to that.
void TrainingRun::restore_average(const std::vector<TensorBlob>& trained) {
  const double decay = run_.config.number_at("train", "ema_decay");
  if (average_ != nullptr) {
    average_->restart();
  } else if (decay > 0) {
    average_ = std::make_unique<WeightAverage>(run_.model->module(), decay);
  }
  if (!trained.empty()) set_trained(run_.model->module(), trained);
}

void TrainingRun::restore(std::vector<TensorBlob> optimizer_state) {
  restore_average(take_trained(optimizer_state));
  const Json& state = run_.start.at("state");
  const std::uint64_t bucket_bytes = run_.config.unsigned_at("train", "bucket_bytes");
  const BucketLimits limits = bucket_bytes > 0 ? bucket_limits(bucket_bytes) : BucketLimits();
  BucketPlan plan;
  if (state.is_null()) {
    plan = initial_bucket_plan(run_.model->module(), limits);
  } else {
    set_step(run_.start.at("step").get<std::uint64_t>());
    running_ = Digest::from_hex(member<std::string>(state, "running_digest", "checkpoint"));
    expected_weight_ = state.value("expected_weight", 1.0);
    epoch_rows_ = member<std::uint64_t>(state, "epoch_rows", "checkpoint");
    best_ = state.at("best");
    best_before_ = best_;
    decision_ = state.value("decision", Json(nullptr));
    evaluations_without_better_ = member<std::uint64_t>(state, "evaluations_without_better", "checkpoint");
    evaluated_step_.reset();
    if (!state.at("evaluated_step").is_null())
      evaluated_step_ = state.at("evaluated_step").get<std::uint64_t>();
    bad_steps_.restore(state.value("bad_steps", Json(nullptr)));
    loss_scale_.restore(state.value("loss_scale", Json(nullptr)));
    if (bad_row_rule_.quarantine) {
      data_->quarantine.restore(state.value("quarantine", Json(nullptr)));
      refuse_too_many_bad_rows("");
    }
    metrics_ = state.at("metrics");
    plan = BucketPlan::from_json(state.at("bucket_plan"), gradient_bytes(run_.model->module()).size(),
                                 "checkpoint");
    load_optimizer(optimizer_state);
  }
  reducer_.reset();  // takes its hooks off the parameters: before the next one sets its own
  reducer_ = std::make_unique<GradientReducer>(
      run_.model->module(), comm_, std::move(plan),
      ReducerSettings{limits, sum_precision(run_.config.text_at("train", "sum_precision"))});
  ahead_.reset();         // of a batch that goes with its stream
  data_->stream.reset();  // one that is going on reads ahead through the reader
  data_->reader = run_.dataset.make_reader();
  if (trace_ != nullptr) {
    data_->reader = make_observed_block_reader(
        std::move(data_->reader), [trace = trace_](std::uint32_t, std::size_t) -> std::shared_ptr<void> {
          if (!trace->on()) return nullptr;
          // The trace stays as long as the span, which a read that hangs may hold for long.
          using Held = std::pair<std::shared_ptr<Trace>, TraceSpan>;
          return std::make_shared<Held>(std::piecewise_construct, std::forward_as_tuple(trace),
                                        std::forward_as_tuple(trace.get(), "read a block"));
        });
  }
  auto batches = make_training_plan(
      run_.dataset.row_index(), run_.plan.split_number, run_.plan.order, run_.plan.cursor(step_),
      run_.plan.epochs(), static_cast<std::uint32_t>(comm_.rank()), static_cast<std::uint32_t>(comm_.size()));
  data_->stream = std::make_unique<BatchStream>(
      std::move(batches), *data_->reader, run_.dataset.contract(), run_.pipeline,
      with_quarantine(training_stream(run_.config, run_.plan), bad_row_rule_, BadRowPolicy::kKeepSlot,
                      data_->quarantine),
      run_.allocator);
  meter_ =
      std::make_unique<ProgressMeter>(run_.plan.total_steps, run_.plan.steps_per_epoch, run_.plan.epochs());
}

/// Another optimizer, allowed by the user, has a state of its own and starts with an empty one.
void TrainingRun::load_optimizer(const std::vector<TensorBlob>& state) {
  if (optimizer_->fits(state)) {
    optimizer_->load_state(state);
    return;
  }
  const Json& changes = run_.start.at("changes");
  const bool meant = std::any_of(changes.begin(), changes.end(), [](const Json& change) {
    return change.at("key") == "optimizer.name" || change.at("key") == "optimizer.momentum";
  });
  if (!meant) optimizer_->load_state(state);  // says what does not fit
  if (comm_.rank() == 0) options_.log(LogLevel::kInfo, "another optimizer: it starts with an empty state");
}

Json TrainingRun::state(bool finished) const {
  const Cursor cursor = run_.plan.cursor(step_);
  Json best = best_;
  return {
      {"cursor", {{"epoch", cursor.epoch}, {"step", cursor.step}}},
      {"running_digest", running_.hex()},
      {"epoch_rows", epoch_rows_},
      {"expected_weight", expected_weight_},
      {"bucket_plan", reducer_->plan().to_json()},
      {"best", best},
      {"decision", decision_},
      {"evaluations_without_better", evaluations_without_better_},
      {"evaluated_step", evaluated_step_ ? Json(*evaluated_step_) : Json(nullptr)},
      {"metrics", metrics_},
      {"bad_steps", bad_steps_.state()},
      {"loss_scale", loss_scale_.state()},
      {"quarantine", data_->quarantine.to_json()},
      {"finished", finished},
      {"fingerprint", run_.dataset.manifest().fingerprint().hex()},
      {"contract", run_.dataset.manifest().contract.hex()},
      {"dataset",
       {{"partitions", run_.dataset.manifest().partitions.size()}, {"rows", run_.dataset.manifest().rows()}}},
      {"init", run_.start.at("init")},
      {"config", run_.config.values()},
      {"plan", run_.plan.to_json()},
      {"environment", run_.environment}};
}

/// The last checkpoint again, in this process: weights, optimizer, position. What was learnt of bad steps
/// stays.
void TrainingRun::roll_back() {
  phase(RankPhase::kRollBack);
  checkpoints_->settle();
  const std::uint64_t from = step_;
  const std::string name =
      checkpoints_->last().empty() ? run_.start.at("parent").get<std::string>() : checkpoints_->last();
  CheckpointContent content;
  const Json loaded = parse_json(
      on_rank_zero(comm_, "roll back",
                   [&] {
                     const std::filesystem::path run = run_.start.at("directory").get<std::string>();
                     content = load_checkpoint(files_, run / "checkpoints" / name).value();
                     return Json{{"step", content.step}, {"state", content.state}}.dump();
                   }),
      "checkpoint", ErrorCode::kBug);
  const std::vector<TensorBlob> weights = broadcast_tensors(comm_, content.model);
  const std::vector<TensorBlob> optimizer_state = broadcast_tensors(comm_, content.optimizer);
  load_module_state(run_.model->module(), weights);
  run_.start["state"] = loaded.at("state");
  run_.start["step"] = loaded.at("step");
  const Json learnt = bad_steps_.state();
  restore(optimizer_state);
  bad_steps_.learn_again(learnt);
  improved_ = false;
  event("rolled_back", {{"checkpoint", name}, {"from_step", from}});
}

void TrainingRun::make_checkpoints() {
  CheckpointFrame frame{
      run_.start.at("directory").get<std::string>(), run_.start.at("generation").get<std::uint64_t>(),
      run_.start.at("resumed").get<bool>(), run_.pipeline.to_json(), run_.dataset.contract().to_yaml()};
  NamedTensors model = module_tensors(run_.model->module());
  NamedTensors state = optimizer_->tensors();
  if (average_ != nullptr) {
    model = average_->averaged_tensors(run_.model->module());
    std::ranges::move(average_->trained_tensors(), std::back_inserter(state));
  }
  checkpoints_ = std::make_unique<TrainingCheckpoints>(
      comm_, files_, run_.config, record_.get(), options_.log, std::move(frame),
      CheckpointSnapshot(std::move(model), std::move(state), comm_.rank(), comm_.size()));
}

/// Weights, buffers, and how far the optimizer counts.
void TrainingRun::compare_weights() {
  if (comm_.size() == 1) return;
  NamedTensors tensors = module_tensors(run_.model->module());
  if (average_ != nullptr)
    std::ranges::move(average_->averaged_tensors(run_.model->module()), std::back_inserter(tensors));
  for (const auto& named : optimizer_->tensors()) {
    if (named.first.ends_with(".step")) tensors.push_back(named);
  }
  check_same_weights(comm_, step_, hash_of(tensors));
}

void TrainingRun::begin_checkpoint(bool finished) {
  phase(RankPhase::kCheckpoint);
  compare_weights();
  // One that cannot be written gives way to this; was it the best one, then the one before is again.
  if (!checkpoints_->failing().empty() && !best_.is_null() && !improved_ &&
      best_.at("checkpoint") == checkpoints_->failing()) {
    best_ = best_before_;
  }
  if (improved_)
    best_["checkpoint"] = checkpoint_name(run_.start.at("generation").get<std::uint64_t>(), step_);
  improved_ = false;
  const std::string best = best_.is_null() ? "" : best_.at("checkpoint").get<std::string>();
  Json metrics = metrics_;
  if (!best_.is_null()) metrics["best"] = best_metric_yet();
  guarded([&] { checkpoints_->begin(step_, state(finished), best, metrics); });
  // A launcher gives a signal to all ranks, some of which saw it a step later: this checkpoint answers them
  // too.
  if (options_.requests != nullptr) options_.requests->save.store(false);
}

}  // namespace muster
