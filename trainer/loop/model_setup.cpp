#include "trainer/loop/model_setup.h"

#include <cmath>
#include <functional>
#include <numeric>

#include "core/text.h"
#include "trainer/checkpoint/module_state.h"
#include "trainer/evaluation/evaluator.h"
#include "trainer/gradients/precision.h"
#include "trainer/loop/trainer.h"

namespace muster {

LossSettings loss_settings(const Config& config, const FeaturePipeline& pipeline) {
  LossSettings settings;
  settings.kind = parse_loss_kind(config.text_at("loss", "kind"));
  settings.pos_weight = config.number_at("loss", "pos_weight");
  settings.class_weights = config.at("loss", "class_weights").get<std::vector<double>>();
  settings.label_smoothing = config.number_at("loss", "label_smoothing");
  settings.label_mean = pipeline.label_scale().mean;
  settings.label_deviation = pipeline.label_scale().deviation;
  if (const auto& targets = pipeline.targets(); targets.size() > 1) {
    for (const TargetLabel& target : targets) settings.scales.push_back(target.scale);
  }
  return settings;
}

std::vector<std::string> target_names(const FeaturePipeline& pipeline) {
  std::vector<std::string> names;
  for (const TargetLabel& target : pipeline.targets()) names.push_back(target.name);
  return names;
}

std::vector<std::int64_t> label_shape(const Contract& contract, std::span<const TargetLabel> targets) {
  if (targets.size() != 1) return {};
  const auto& shape = contract.field(targets.front().name).shape;
  return {shape.begin(), shape.end()};
}

std::string best_metric(const Config& config, const Contract& contract,
                        std::span<const TargetLabel> targets) {
  const LossKind kind = parse_loss_kind(config.text_at("loss", "kind"));
  const bool units_differ = kind == LossKind::kMse && targets.size() > 1;
  const std::string given = config.text_at("evaluate", "best_by");
  if (given.empty()) return units_differ ? "loss" : default_metric(kind);
  if (units_differ && given != "loss")
    fail(ErrorCode::kConfig,
         "evaluate.best_by is '{}', which each of {} targets has in its own unit: only `loss` compares "
         "them all",
         given, targets.size());
  if (given == "relative_l2" && label_shape(contract, targets).empty())
    fail(ErrorCode::kConfig,
         "evaluate.best_by is 'relative_l2', which only a label that is an array has: `rmse`");
  return given;
}

OptimizerSettings optimizer_settings(const Config& config) {
  OptimizerSettings settings;
  settings.name = config.text_at("optimizer", "name");
  settings.learning_rate = config.number_at("optimizer", "learning_rate");
  settings.weight_decay = config.number_at("optimizer", "weight_decay");
  settings.decay = config.text_at("optimizer", "decay");
  settings.momentum = config.number_at("optimizer", "momentum");
  settings.nesterov = config.at("optimizer", "nesterov").get<bool>();
  settings.beta1 = config.number_at("optimizer", "beta1");
  settings.beta2 = config.number_at("optimizer", "beta2");
  settings.epsilon = config.number_at("optimizer", "epsilon");
  return settings;
}

ScheduleSettings schedule_settings(const Config& config) {
  ScheduleSettings settings;
  settings.kind = config.text_at("schedule", "kind");
  settings.warmup_steps = config.unsigned_at("schedule", "warmup_steps");
  settings.final_ratio = config.number_at("schedule", "final_ratio");
  settings.initial_ratio = config.number_at("schedule", "initial_ratio");
  settings.step_every = config.unsigned_at("schedule", "step_every");
  settings.step_ratio = config.number_at("schedule", "step_ratio");
  settings.horizon = config.unsigned_at("schedule", "horizon");
  return settings;
}

namespace {

/// K if the values are exactly 0 … K-1.
std::int64_t classes_of(const Field& label) {
  if (!label.allowed.empty()) {
    for (std::size_t i = 0; i < label.allowed.size(); ++i) {
      if (label.allowed[i] != static_cast<double>(i)) return 0;
    }
    return static_cast<std::int64_t>(label.allowed.size());
  }
  if (label.minimum == 0.0 && label.maximum && *label.maximum < 1e6)
    return static_cast<std::int64_t>(*label.maximum) + 1;
  return 0;
}

std::int64_t classes_of_one(const Contract& contract, std::span<const TargetLabel> targets) {
  if (targets.size() > 1) {
    std::vector<std::string> names;
    for (const TargetLabel& target : targets) names.push_back(target.name);
    fail(ErrorCode::kConfig,
         "loss.kind cross_entropy takes one label, here are {}: {}; `data.labels: [{}]` chooses one",
         names.size(), join(names, ", "), names.front());
  }
  const Field& label = contract.field(targets.front().name);
  const std::int64_t classes = is_float(label.dtype) ? 0 : classes_of(label);
  if (classes >= 2) return classes;
  fail(ErrorCode::kConfig,
       "loss.kind cross_entropy needs an integer label with `allowed: [0, 1, …]` or `range: [0, K-1]` in the "
       "contract: '{}' "
       "has neither",
       label.name);
}

[[noreturn]] void refuse_recompute(const std::string& model) {
  std::vector<std::string> able;
  for (const std::string& name : models().names()) {
    if (models().get(name).recomputes) able.push_back(name);
  }
  fail(ErrorCode::kConfig,
       "train.recompute: the model '{}' keeps all its activations; models that need not: {}", model,
       join(able, ", "));
}

}  // namespace

std::int64_t model_outputs(const Contract& contract, LossKind kind, std::span<const TargetLabel> targets) {
  if (kind == LossKind::kNextToken) return 1;  // the model knows its vocabulary
  if (targets.empty())
    fail(ErrorCode::kConfig, "the contract has no field with role label: there is nothing to learn");
  const std::vector<std::int64_t> shape = label_shape(contract, targets);
  if (!shape.empty() && kind != LossKind::kMse)
    fail(ErrorCode::kConfig, "the label '{}' is an array, which only loss.kind mse learns",
         targets.front().name);
  if (kind == LossKind::kCrossEntropy) return classes_of_one(contract, targets);
  for (const TargetLabel& target : targets) {
    const Field& label = contract.field(target.name);
    if (kind != LossKind::kBinary || (!is_float(label.dtype) && classes_of(label) == 2)) continue;
    fail(ErrorCode::kConfig,
         "loss.kind binary needs an integer label with `allowed: [0, 1]` in the contract: '{}' has not",
         label.name);
  }
  const auto values = std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  return values * static_cast<std::int64_t>(targets.size());
}

std::unique_ptr<Model> make_configured_model(const Config& config, const Contract& contract,
                                             const FeaturePipeline& pipeline, const ComputeDevice& device) {
  ModelContext context;
  context.options = config.section("model");
  const std::string name = config.text_at("model", "name");
  context.tensors = pipeline.tensors();
  const LossSettings loss = loss_settings(config, pipeline);
  context.outputs = model_outputs(contract, loss.kind, pipeline.targets());
  context.label_shape = label_shape(contract, pipeline.targets());
  if (!loss.class_weights.empty() &&
      static_cast<std::int64_t>(loss.class_weights.size()) != context.outputs) {
    fail(ErrorCode::kConfig, "loss.class_weights has {} weights for {} classes", loss.class_weights.size(),
         context.outputs);
  }
  context.recompute = config.at("train", "recompute").get<bool>();
  if (context.recompute && !models().get(name).recomputes) refuse_recompute(name);
  auto model = make_model(name, context, config.unsigned_at("run", "seed"));
  model = with_precision(std::move(model), config.text_at("train", "precision"), device);
  const bool wants_tokens = loss.kind == LossKind::kNextToken;
  if (model->predicts_tokens() && !wants_tokens)
    fail(ErrorCode::kConfig, "the model '{}' predicts tokens: it needs loss.kind next_token", name);
  if (wants_tokens && !model->predicts_tokens())
    fail(ErrorCode::kConfig, "the model '{}' predicts no tokens: loss.kind next_token is for models like gpt",
         name);
  return model;
}

double first_loss_scale(const Config& config) {
  const double given = config.number_at("train", "loss_scale");
  if (given > 0) return given;
  return config.text_at("train", "precision") == "float16" ? 0x1p16 : 1;
}

RowsTogether rows_together(const BatchNormSums& norms) {
  if (norms.empty()) return RowsTogether::kNone;
  return norms.over_ranks() ? RowsTogether::kAll : RowsTogether::kLane;
}

void check_rows_together(const Config& config, const OrderSettings& order, int ranks,
                         torch::nn::Module& module) {
  const std::size_t per_lane = order.batch_size / order.lanes;
  const auto world = static_cast<std::size_t>(ranks);
  const std::size_t most_lanes = (order.lanes + world - 1) / world;
  check_micro_batch(config.unsigned_at("train", "micro_batch"), rows_together(BatchNormSums(module)),
                    per_lane, most_lanes * per_lane);
}

std::uint64_t model_memory(torch::nn::Module& module, const OptimizerSettings& optimizer) {
  const std::uint64_t state = optimizer.name == "adamw" ? 2 : optimizer.momentum > 0 ? 1 : 0;
  return sizeof(float) * (parameter_count(module) + trainable_count(module) * (1 + state));
}

std::vector<ModelOptions> registered_model_options() {
  std::vector<ModelOptions> result;
  for (const std::string& name : models().names()) result.push_back({name, models().get(name).options});
  return result;
}

}  // namespace muster
