#include "trainer/evaluation/evaluator.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "trainer/comm/agreement.h"
#include "trainer/comm/gather.h"
#include "trainer/data/bad_rows.h"
#include "trainer/evaluation/batch_scores.h"
#include "trainer/evaluation/metrics.h"
#include "trainer/evaluation/score_stage.h"
#include "trainer/evaluation/target_metrics.h"

namespace muster {
namespace {

constexpr std::uint64_t kMicroBatchesPerRound = 16;

MetricCollector::Kind metric_kind(const EvaluateSettings& settings) {
  switch (settings.loss.kind) {
    case LossKind::kBinary:
      return MetricCollector::Kind::kBinary;
    case LossKind::kCrossEntropy:
      return MetricCollector::Kind::kClasses;
    case LossKind::kNextToken:
      return MetricCollector::Kind::kTokens;
    case LossKind::kMse:
      break;
  }
  return settings.label_shape.empty() ? MetricCollector::Kind::kNumbers : MetricCollector::Kind::kArrays;
}

void score_tokens(Model& model, const Batch& batch, const EvaluateSettings& settings,
                  MetricCollector& collector) {
  const torch::NoGradGuard no_grad;
  const ModelBatch inputs(BatchTensors(batch, settings.device), 0, batch.rows(), false, 0);
  const at::Tensor scores = model.forward(inputs);
  const at::Tensor good = at::isfinite(scores).flatten(1).all(1);
  if (!good.all().item<bool>()) {
    const auto row = static_cast<std::size_t>(good.logical_not().nonzero()[0][0].item<std::int64_t>());
    const RowId id = batch.ids()[row];
    fail(ErrorCode::kData, "the model's score of partition {} row {} is not finite", id.partition, id.row);
  }
  const at::Tensor next = model.next_tokens(inputs);
  const at::Tensor sums = model.loss(scores, inputs, settings.loss);
  MicroBatchSums made;
  made.number = batch.step;
  made.loss = sums[0].item<double>();
  made.weight = sums[1].item<double>();
  made.rows = batch.rows();
  made.tokens = static_cast<std::uint64_t>(next.numel());
  made.right_tokens = static_cast<std::uint64_t>(scores.argmax(2).eq(next).sum().item<std::int64_t>());
  collector.add(made);
}

void score(Model& model, const Batch& batch, const EvaluateSettings& settings, MetricCollector& collector,
           ScoreStage& stage) {
  if (model.predicts_tokens()) return score_tokens(model, batch, settings, collector);
  const torch::NoGradGuard no_grad;
  const ModelBatch inputs(BatchTensors(batch, settings.device), 0, batch.rows(), false, 0);
  const at::Tensor scores = model.forward(inputs);
  const at::Tensor sums = model.loss(scores, inputs, settings.loss);
  const at::Tensor labels = inputs.label().to(at::kCPU, at::kDouble).contiguous();
  stage.add(batch, scores, {labels.data_ptr<double>(), static_cast<std::size_t>(labels.numel())},
            sums[0].item<double>(), sums[1].item<double>());
}

void score_targets(Model& model, const Batch& batch, const EvaluateSettings& settings,
                   TargetMetrics& collector) {
  const torch::NoGradGuard no_grad;
  const ModelBatch inputs(BatchTensors(batch, settings.device), 0, batch.rows(), false, 0);
  const at::Tensor scores = model.forward(inputs);
  const at::Tensor all = model.loss(scores, inputs, settings.loss);
  const at::Tensor each = target_sums(scores, inputs, settings.loss);
  std::vector<LossSums> sums;
  for (std::int64_t target = 0; target < each.size(0); ++target)
    sums.push_back({each[target][0].item<double>(), each[target][1].item<double>()});
  const std::vector<float> predicted = batch_scores(scores, batch, settings.loss, settings.outputs);
  const at::Tensor labels = inputs.label().to(at::kCPU, at::kDouble).contiguous();
  collector.add(batch.step, predicted, {labels.data_ptr<double>(), predicted.size()},
                {all[0].item<double>(), all[1].item<double>()}, sums);
}

/// Where an evaluation's data come from; the stream reads through the reader until it is gone.
struct Reading {
  std::unique_ptr<BlockReader> reader;
  std::unique_ptr<BatchStream> stream;
};

/// Collective. The greatest of the ranks' reasons to stop.
StopReason agreed_stop(Communicator& comm, StopReason mine) {
  const auto all = gather<StopReason>(comm, "evaluation stop", std::span(&mine, 1));
  return *std::ranges::max_element(all);
}

EvaluationEnd stopped(std::shared_ptr<Reading> source, StopReason reason) {
  const bool quiet = source->stream->stop_reading();
  return {std::nullopt, reason, quiet ? nullptr : std::move(source)};
}

}  // namespace

void set_compute_threads(std::uint64_t threads) { at::set_num_threads(static_cast<int>(threads)); }

std::string default_metric(LossKind kind) {
  switch (kind) {
    case LossKind::kBinary:
      return "auc";
    case LossKind::kCrossEntropy:
      return "accuracy";
    case LossKind::kNextToken:
      return "loss";
    case LossKind::kMse:
      break;
  }
  return "rmse";
}

EvaluationEnd evaluate_split(Communicator& comm, Model& model, const Dataset& dataset,
                             const FeaturePipeline& pipeline, const EvaluateSettings& settings,
                             const std::function<StopReason(bool waits)>& stop) {
  MetricCollector collector(metric_kind(settings), settings.outputs, settings.threshold);
  std::optional<TargetMetrics> of_targets;
  if (settings.targets.size() > 1 && !model.predicts_tokens())
    of_targets.emplace(metric_kind(settings), settings.threshold, settings.targets);
  ScoreStage stage(settings, collector);
  const auto source = together(comm, "open evaluation", [&] {
    const std::uint8_t split = dataset.row_index().split(settings.split);
    if (dataset.row_index().rows(split) == 0) {
      fail(ErrorCode::kConfig, "split '{}' has no rows to evaluate on", settings.split);
    }
    auto reading = std::make_shared<Reading>();
    reading->reader = dataset.make_reader();
    auto plan = make_evaluation_plan(dataset.row_index(), split, settings.micro_batch,
                                     static_cast<std::uint32_t>(comm.rank()),
                                     static_cast<std::uint32_t>(comm.size()));
    reading->stream = std::make_unique<BatchStream>(std::move(plan), *reading->reader, dataset.contract(),
                                                    pipeline, settings.stream);
    return reading;
  });
  BatchStream* const stream = source->stream.get();
  model.module().eval();
  const std::uint64_t rows = dataset.row_index().rows(dataset.row_index().split(settings.split));
  const std::uint64_t micro_batches = (rows + settings.micro_batch - 1) / settings.micro_batch;
  const auto world = static_cast<std::uint64_t>(comm.size());
  const std::uint64_t most = (micro_batches + world - 1) / world;
  std::uint64_t passed_over = 0;
  std::vector<BadRows> found;
  bool waits_in_vain = false;  // for data, when a stop was wanted
  for (std::uint64_t done = 0; done < most; done += kMicroBatchesPerRound) {
    const StopReason agreed = agreed_stop(comm, stop(waits_in_vain));
    if (agreed != StopReason::kNone) return stopped(source, agreed);
    ensure(!waits_in_vain, "an evaluation waits for data that nobody wants");
    for (std::uint64_t i = 0; i < kMicroBatchesPerRound; ++i) {
      waits_in_vain = !stream->wait([&] { return stop(true) != StopReason::kNone; });
      if (waits_in_vain) break;
      const Batch* batch = stream->next();
      if (batch == nullptr) break;
      passed_over += stream->dropped();
      found.insert(found.end(), stream->found().begin(), stream->found().end());
      if (batch->rows() == 0) continue;
      if (of_targets) {
        score_targets(model, *batch, settings, *of_targets);
      } else {
        score(model, *batch, settings, collector, stage);
      }
    }
  }
  const StopReason agreed = agreed_stop(comm, waits_in_vain ? stop(true) : StopReason::kNone);
  if (agreed != StopReason::kNone) return stopped(source, agreed);
  std::vector<BadRows> bad_rows;
  if (settings.stream.on_bad_rows != BadRowPolicy::kRefuse) {
    bad_rows = bad_rows_of(gather_texts(comm, "bad rows", bad_rows_text(found)));
    comm.all_reduce_sum("bad rows", std::span(&passed_over, 1));
    if (passed_over == rows)
      throw AgreedError(
          Error(ErrorCode::kData, fmt::format("all {} rows of split '{}' are bad", rows, settings.split)),
          comm.rank() == 0);
  }
  Decision decision = stage.decide(comm);
  Json metrics = of_targets ? of_targets->finish(comm) : collector.finish(comm);
  if (!of_targets) metrics.update(stage.more_metrics(comm));
  ensure(metrics.at("rows").get<std::uint64_t>() + passed_over == rows,
         "evaluated {} rows of {}, {} passed over", metrics.at("rows").get<std::uint64_t>(), rows,
         passed_over);
  if (passed_over > 0) metrics["passed_over"] = passed_over;
  return {Evaluation{std::move(metrics), std::move(decision), std::move(bad_rows)}, StopReason::kNone,
          nullptr};
}

}  // namespace muster
