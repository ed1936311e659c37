#include "models/loss.h"

#include <torch/torch.h>

#include "core/error.h"
#include "core/text.h"
#include "models/gpu_operators.h"

namespace muster {

namespace {

/// Loss of each row as the formula has it, class weight included, and the weight of its class; both [rows].
struct RowLosses {
  at::Tensor losses;
  at::Tensor class_weights;
};

/// Error{kData} unless low <= labels <= high. `labels`: on the host, as a look at them would make it wait for
/// a GPU.
void check_labels(const at::Tensor& labels, double low, double high, std::string_view loss) {
  if (labels.numel() == 0) return;
  const auto lowest = labels.min().item<double>();
  const auto highest = labels.max().item<double>();
  if (lowest >= low && highest <= high) return;
  fail(ErrorCode::kData, "the {} loss takes labels from {} to {}, this batch has {} to {}", loss, low, high,
       lowest, highest);
}

/// Scores as [rows], from [rows] or [rows, 1].
at::Tensor one_score_per_row(const at::Tensor& scores, std::int64_t rows, std::string_view loss) {
  if (scores.numel() != rows) {
    fail(ErrorCode::kConfig, "the {} loss takes one score per row, the model gives {} for {} rows", loss,
         scores.numel(), rows);
  }
  return scores.reshape({rows});
}

/// int64 [rows].
at::Tensor checked_classes(const at::Tensor& scores, const ModelBatch& batch) {
  if (scores.dim() != 2) {
    fail(ErrorCode::kConfig,
         "the cross-entropy loss takes scores [rows, classes], the model gives {} dimensions", scores.dim());
  }
  const at::Tensor label = batch.label().reshape({batch.rows()});
  if (label.scalar_type() != at::kLong) {
    fail(ErrorCode::kConfig, "the cross-entropy loss takes integer labels, the data has floats");
  }
  const std::int64_t classes = scores.size(1);
  check_labels(batch.label_on_host(), 0, static_cast<double>(classes - 1), "cross-entropy");
  return label;
}

RowLosses cross_entropy(const at::Tensor& scores, const ModelBatch& batch, const LossSettings& settings) {
  const at::Tensor label = checked_classes(scores, batch);
  const std::int64_t classes = scores.size(1);
  at::Tensor weights = at::ones({classes}, at::kFloat);
  if (!settings.class_weights.empty()) {
    if (settings.class_weights.size() != static_cast<std::size_t>(classes)) {
      fail(ErrorCode::kConfig, "there are {} class weights for {} classes", settings.class_weights.size(),
           classes);
    }
    weights = at::tensor(settings.class_weights, at::kDouble).to(at::kFloat);
  }
  weights = weights.to(scores.device());
  // torch.nn.functional.cross_entropy: (1 - s) w[y] nll(y) + s / C sum_c w[c] nll(c).
  at::Tensor losses = at::cross_entropy_loss(scores, label, weights, at::Reduction::None,
                                             /*ignore_index=*/-100, settings.label_smoothing);
  return {losses, weights.index_select(0, label)};
}

RowLosses binary(const at::Tensor& scores, const ModelBatch& batch, const LossSettings& settings) {
  const at::Tensor logits = one_score_per_row(scores, batch.rows(), "binary");
  const at::Tensor label = batch.label().reshape({batch.rows()}).to(at::kFloat);
  check_labels(batch.label_on_host(), 0, 1, "binary");
  // torch.nn.functional.binary_cross_entropy_with_logits: p y softplus(-x) + (1 - y) softplus(x).
  const at::Tensor positive = at::full({}, settings.pos_weight, scores.options());
  return {at::binary_cross_entropy_with_logits(logits, label, {}, positive, at::Reduction::None),
          1 + (settings.pos_weight - 1) * label};
}

/// Of the label as the training split has it: mean 0, deviation 1. In double, as labels may be far from zero.
RowLosses mse(const at::Tensor& scores, const ModelBatch& batch, const LossSettings& settings) {
  const at::Tensor label =
      ((batch.label().to(at::kDouble) - settings.label_mean) / settings.label_deviation).to(at::kFloat);
  if (scores.numel() != label.numel()) {
    fail(ErrorCode::kConfig, "the mse loss takes one score per label value: {} scores, {} values for {} rows",
         scores.numel(), label.numel(), batch.rows());
  }
  const std::int64_t per_row = batch.rows() == 0 ? 1 : label.numel() / batch.rows();
  const at::Tensor error = scores.reshape({batch.rows(), per_row}) - label.reshape({batch.rows(), per_row});
  return {error.square().mean(1), at::ones({batch.rows()}, scores.options())};
}

/// One number of each target, float64 [targets].
template <typename Get>
at::Tensor of_each(const LossSettings& settings, const Get& get) {
  std::vector<double> numbers;
  for (const LabelScale& scale : settings.scales) numbers.push_back(get(scale));
  return at::tensor(numbers, at::kDouble);
}

at::Tensor means_of(const LossSettings& settings) {
  return of_each(settings, [](const LabelScale& scale) { return scale.mean; });
}

at::Tensor deviations_of(const LossSettings& settings) {
  return of_each(settings, [](const LabelScale& scale) { return scale.deviation; });
}

/// As RowLosses, [rows, targets] each.
RowLosses target_losses(const at::Tensor& scores, const ModelBatch& batch, const LossSettings& settings) {
  const at::Tensor label = batch.label();
  if (settings.kind != LossKind::kBinary && settings.kind != LossKind::kMse)
    fail(ErrorCode::kConfig, "the losses binary and mse take several targets; choose one with data.labels");
  const auto targets = static_cast<std::int64_t>(settings.scales.size());
  const std::vector<std::int64_t> shape{batch.rows(), targets};
  if (scores.sizes() != shape || label.sizes() != shape) {
    fail(ErrorCode::kConfig,
         "a loss of {} targets takes scores and labels [rows, targets]: {} scores and {} labels for {} rows",
         targets, scores.numel(), label.numel(), batch.rows());
  }
  if (settings.kind == LossKind::kBinary) {
    check_labels(batch.label_on_host(), 0, 1, "binary");
    const at::Tensor truth = label.to(at::kFloat);
    const at::Tensor positive = at::full({}, settings.pos_weight, scores.options());
    return {at::binary_cross_entropy_with_logits(scores, truth, {}, positive, at::Reduction::None),
            1 + (settings.pos_weight - 1) * truth};
  }
  const at::Tensor scaled = (label.to(at::kDouble) - means_of(settings).to(label.device())) /
                            deviations_of(settings).to(label.device());
  return {(scores - scaled.to(at::kFloat)).square(), at::ones_like(scores)};
}

RowLosses row_losses(const at::Tensor& scores, const ModelBatch& batch, const LossSettings& settings) {
  switch (settings.kind) {
    case LossKind::kCrossEntropy:
      return cross_entropy(scores, batch, settings);
    case LossKind::kBinary:
      return binary(scores, batch, settings);
    case LossKind::kNextToken:
      fail(ErrorCode::kConfig, "loss.kind next_token is for models that predict tokens, like gpt");
    case LossKind::kMse:
      break;
  }
  return mse(scores, batch, settings);
}

}  // namespace

LossKind parse_loss_kind(const std::string& name) {
  if (name == "cross_entropy") return LossKind::kCrossEntropy;
  if (name == "binary") return LossKind::kBinary;
  if (name == "mse") return LossKind::kMse;
  if (name == "next_token") return LossKind::kNextToken;
  const std::vector<std::string> known{"cross_entropy", "binary", "mse", "next_token"};
  fail(ErrorCode::kConfig, "there is no loss '{}'{}; known: {}", name, did_you_mean(name, known),
       join(known, ", "));
}

at::Tensor target_sums(const at::Tensor& scores, const ModelBatch& batch, const LossSettings& settings) {
  const RowLosses rows = target_losses(scores, batch, settings);
  const at::Tensor weights = batch.weights().to(at::kDouble).unsqueeze(1);
  return at::stack(
      {(rows.losses.to(at::kDouble) * weights).sum(0), (rows.class_weights.to(at::kDouble) * weights).sum(0)},
      1);
}

at::Tensor loss_sums(const at::Tensor& scores, const ModelBatch& batch, const LossSettings& settings) {
  if (settings.scales.size() > 1) return target_sums(scores, batch, settings).mean(0);
  const bool plain = settings.kind == LossKind::kCrossEntropy && settings.class_weights.empty() &&
                     settings.label_smoothing == 0;
  if (plain && has_gpu_cross_entropy(scores))
    return gpu_cross_entropy(scores, checked_classes(scores, batch), batch.weights());
  const RowLosses rows = row_losses(scores, batch, settings);
  const at::Tensor weights = batch.weights().to(at::kDouble);
  return at::stack(
      {(rows.losses.to(at::kDouble) * weights).sum(), (rows.class_weights.to(at::kDouble) * weights).sum()});
}

at::Tensor next_token_sums(const at::Tensor& scores, const at::Tensor& next, const at::Tensor& weights) {
  const std::int64_t rows = next.size(0);
  const std::int64_t tokens = next.size(1);
  ensure(scores.dim() == 3 && scores.size(0) == rows && scores.size(1) == tokens,
         "next-token scores of {} dimensions for {} rows of {} tokens", scores.dim(), rows, tokens);
  const at::Tensor of_tokens = scores.reshape({rows * tokens, scores.size(2)});
  const at::Tensor right = next.reshape({rows * tokens});
  if (has_gpu_cross_entropy(of_tokens)) return gpu_cross_entropy(of_tokens, right, weights);
  const at::Tensor losses = at::cross_entropy_loss(of_tokens.to(at::kFloat), right, {}, at::Reduction::None)
                                .reshape({rows, tokens});
  const at::Tensor row_weights = weights.to(at::kDouble);
  return at::stack(
      {(losses.to(at::kDouble).sum(1) * row_weights).sum(), row_weights.sum() * static_cast<double>(tokens)});
}

namespace {

/// Of the same bits however the scores lie in memory.
at::Tensor cooled(const at::Tensor& scores, double temperature) {
  const at::Tensor plain = scores.to(at::kFloat).contiguous();
  return temperature == 1 ? plain : plain / temperature;
}

}  // namespace

at::Tensor predictions(const at::Tensor& scores, const LossSettings& settings) {
  switch (settings.kind) {
    case LossKind::kCrossEntropy:
      return at::softmax(cooled(scores, settings.temperature), 1);
    case LossKind::kBinary:
      return at::sigmoid(cooled(scores, settings.temperature));
    case LossKind::kNextToken:
      fail(ErrorCode::kBug, "a model of tokens gives a distribution per token, no prediction per row");
    case LossKind::kMse:
      break;
  }
  if (!settings.scales.empty())
    return (scores.to(at::kDouble) * deviations_of(settings).to(scores.device()) +
            means_of(settings).to(scores.device()))
        .to(at::kFloat);
  return (scores.to(at::kDouble) * settings.label_deviation + settings.label_mean).to(at::kFloat);
}

}  // namespace muster
