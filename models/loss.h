#pragma once
// The losses as weighted sums, so that any split of a batch over ranks and micro-batches adds up to the same
// step.

#include <string>
#include <vector>

#include "models/model_batch.h"

namespace muster {

enum class LossKind { kCrossEntropy, kBinary, kMse };

struct LossSettings {
  LossKind kind = LossKind::kMse;
  double pos_weight = 1;              ///< binary: weight of a positive row
  std::vector<double> class_weights;  ///< cross-entropy: per class; empty: all 1
  double label_smoothing = 0;         ///< cross-entropy, in [0, 1)
  double label_mean = 0;              ///< mse: of the training split; scores are in units of its deviation
  double label_deviation = 1;         ///< mse: greater than 0
};

LossKind parse_loss_kind(const std::string& name);  ///< "cross_entropy", "binary", "mse"

/// Two float64 values [sum of weighted losses, sum of weights] over the rows, from scores ([rows, classes] or
/// [rows]). A row's weight is its sample weight × class weight (or pos_weight). Zero rows give zeros that
/// still carry the graph.
at::Tensor loss_sums(const at::Tensor& scores, const ModelBatch& batch, const LossSettings& settings);

/// Scores as people and metrics want them: softmax, sigmoid, or in the label's unit. Float32, same shape.
at::Tensor predictions(const at::Tensor& scores, const LossSettings& settings);

}  // namespace muster
