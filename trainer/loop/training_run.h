#pragma once
// The loop itself: one object a run, from its restored state to its last checkpoint.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/batch_norm.h"
#include "models/model.h"
#include "trainer/checkpoint/buffer_keeper.h"
#include "trainer/data/bad_rows.h"
#include "trainer/evaluation/decision.h"
#include "trainer/gradients/gradient_reducer.h"
#include "trainer/gradients/loss_gradient.h"
#include "trainer/gradients/loss_scale.h"
#include "trainer/gradients/optimizer.h"
#include "trainer/gradients/schedule.h"
#include "trainer/gradients/weight_average.h"
#include "trainer/loop/bad_steps.h"
#include "trainer/loop/micro_batches.h"
#include "trainer/loop/prepared_run.h"
#include "trainer/loop/run_record.h"
#include "trainer/loop/trainer.h"
#include "trainer/loop/training_checkpoints.h"
#include "trainer/runlog/efficiency.h"
#include "trainer/runlog/progress_meter.h"
#include "trainer/runlog/step_report.h"
#include "trainer/runlog/stop_watch.h"
#include "trainer/runlog/trace.h"

namespace muster {

/// Collective in all its public calls. One thread.
class TrainingRun {
 public:
  TrainingRun(Communicator& comm, FileSystem& files, const TrainOptions& options, Prepared prepared,
              std::unique_ptr<RunRecord> record, const std::vector<TensorBlob>& optimizer_state);
  TrainResult run();
  /// At the end, also by an error. What a read that does not come back still uses goes to `keep`; without it,
  /// and where all reads have come back, nothing is left. Not collective.
  void stop_reading(const std::function<void(std::shared_ptr<void>)>& keep);

 private:
  using Clock = std::chrono::steady_clock;
  enum class After { kGoOn, kStop };
  enum class Step { kDone, kGoBack, kNoBatch };

  void restore(std::vector<TensorBlob> optimizer_state);
  void restore_average(const std::vector<TensorBlob>& trained);
  void make_checkpoints();
  void guarded(const std::function<void()>& body);
  void load_optimizer(const std::vector<TensorBlob>& state);
  TrainResult run_to_end();
  bool catch_up();
  Step one_step();
  const Batch* next_batch();
  void end_step_without_batch();
  void phase(RankPhase now);
  void start_trace();
  void end_trace();
  void note_step(double seconds);
  bool update();
  void take_bad_rows(const std::vector<BadRows>& bad);
  void refuse_too_many_bad_rows(const std::string& reason) const;
  void tell_stragglers();
  void count_operations();
  void tell_efficiency();
  bool take_bad_step(const std::string& why);
  void roll_back();
  double mean_loss() const;
  void expect_weight(double weight);
  StopReason stop_wanted(bool waits = false);
  at::Tensor forward(const ModelBatch& inputs);
  StepReport forward_backward(const Batch& batch);
  BatchTensors tensors_of(const Batch& batch);
  void copy_ahead();
  void tune_buckets();
  StepReport without_batch();
  void update_running_statistics();
  Waits waits() const;
  void log_step(const StepTotals& totals);
  After after_step();
  bool finished() const;
  bool evaluation_due() const;
  bool evaluate_now();
  void take_metrics(const Json& metrics);
  bool improves(double value) const;
  Json best_metric_yet() const;
  void take_decision(Decision decision);
  void begin_checkpoint(bool finished = false);
  void compare_weights();
  Json state(bool finished) const;
  void event(const std::string& name, const Json& fields);
  void set_step(std::uint64_t step);
  TrainResult stopped();
  TrainResult result(TrainOutcome outcome) const;

  Communicator& comm_;
  const TrainOptions& options_;
  FileSystem& files_;
  std::shared_ptr<Prepared> prepared_;
  Prepared& run_;
  std::unique_ptr<RunRecord> record_;  ///< rank 0 only
  LossSettings loss_;
  ScheduleSettings schedule_;
  std::uint64_t seed_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<WeightAverage> average_;  ///< null: none is kept
  std::unique_ptr<GradientReducer> reducer_;
  std::unique_ptr<BufferKeeper> buffers_;
  LossScale loss_scale_;
  LossGradient loss_gradient_;
  BatchNormSums batch_norms_;
  RowsTogether together_;
  std::shared_ptr<TrainingData> data_;
  std::unique_ptr<CopyStream> copies_;  ///< null: batches are used where they are
  std::optional<BatchTensors> ahead_;   ///< the next batch, on its way to the GPU; gone before data_
  std::uint64_t bad_ranges_ = 0;        ///< that this start has found
  bool told_of_few_rows_ = false;
  std::unique_ptr<TrainingCheckpoints> checkpoints_;
  std::unique_ptr<StopWatch> stop_watch_;
  BadSteps bad_steps_;
  BadRowRule bad_row_rule_;
  Stragglers stragglers_;

  std::uint64_t step_ = 0;  ///< global: steps done
  Digest running_;
  std::uint64_t epoch_rows_ = 0;
  StepTotals last_;
  double gradient_norm_ = 0;  ///< of the last step
  /// What losses are divided by before the backward pass: the weight of the step before, the same on all
  /// ranks. Where a step's own weight is that, its gradients need no division.
  double expected_weight_ = 1;
  double rate_ = 0;
  double step_seconds_ = 0;
  std::uint64_t steps_here_ = 0;  ///< in this start
  std::string stop_reason_;
  StopReason evaluation_stop_ = StopReason::kNone;
  std::shared_ptr<void> evaluation_reads_;  ///< of an evaluation that was stopped
  std::optional<std::uint64_t> evaluated_step_;
  std::string best_by_;
  Json best_ = nullptr;      ///< {value, step, checkpoint}
  Json decision_ = nullptr;  ///< of the last evaluation, where one was fitted
  std::uint64_t evaluations_without_better_ = 0;
  Json best_before_ = nullptr;  ///< the one before, until the best one's checkpoint is committed
  bool improved_ = false;
  Json metrics_ = Json::object();
  std::unique_ptr<ProgressMeter> meter_;
  std::shared_ptr<Trace> trace_;         ///< null: none is wanted
  std::optional<TraceSpan> phase_span_;  ///< gone before the trace
  Efficiency efficiency_;
};

}  // namespace muster
