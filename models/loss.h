#pragma once
// The losses as weighted sums, so that any split of a batch over ranks and micro-batches adds up to the same
// step.

#include <string>
#include <vector>

#include "data_loader/features/feature_pipeline.h"
#include "models/model_batch.h"

namespace muster {

enum class LossKind { kCrossEntropy, kBinary, kMse, kNextToken };

struct LossSettings {
  LossKind kind = LossKind::kMse;
  double pos_weight = 1;              ///< binary: weight of a positive row
  std::vector<double> class_weights;  ///< cross-entropy: per class; empty: all 1
  double label_smoothing = 0;         ///< cross-entropy, in [0, 1)
  double label_mean = 0;              ///< mse: of the training split; scores are in units of its deviation
  double label_deviation = 1;         ///< mse: greater than 0
  std::vector<LabelScale> scales;     ///< of each target, where there are several: instead of these two
  double temperature = 1;             ///< binary, cross-entropy: predictions() are of scores / temperature
};

LossKind parse_loss_kind(const std::string& name);  ///< "cross_entropy", "binary", "mse", "next_token"

/// Two float64 values [sum of weighted losses, sum of weights] over the rows, from scores ([rows, classes] or
/// [rows]; of several targets [rows, targets], with labels of that shape). A row's weight is its sample
/// weight × class weight (or pos_weight). mse of a label that is an array takes as many scores a row as it
/// has values, in its order and any shape; a row's loss is then the mean over them. Of several targets: the
/// mean of target_sums. Zero rows give zeros that still carry the graph. Not for next_token, which has no
/// label.
at::Tensor loss_sums(const at::Tensor& scores, const ModelBatch& batch, const LossSettings& settings);

/// float64 [targets, 2]: what loss_sums would be of each target alone. For binary and mse with several
/// targets.
at::Tensor target_sums(const at::Tensor& scores, const ModelBatch& batch, const LossSettings& settings);

/// next_token: cross-entropy in nats of scores [rows, tokens, vocabulary] against ids [rows, tokens], as two
/// float64 values. A token's weight is its row's weight ([rows]), so that their ratio is the mean per token.
at::Tensor next_token_sums(const at::Tensor& scores, const at::Tensor& next, const at::Tensor& weights);

/// Scores as people and metrics want them: softmax, sigmoid, or in the label's unit. Float32, same shape. Not
/// for next_token.
at::Tensor predictions(const at::Tensor& scores, const LossSettings& settings);

}  // namespace muster
