#pragma once
// A linear layer, in as few passes as there can be.

#include "models/model_batch.h"

namespace torch::nn {
class Linear;
}

namespace muster {

/// x Wᵀ + b over the last dimension; without b where that is undefined. As at::linear, but for how gradients
/// are made: that of W is written where the batch says that it is wanted, which spares a copy; under autocast
/// on a GPU those of W and b are float32 from the product on, not rounded to fewer bits first. No second
/// derivatives: Error{kBug}.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  const ModelBatch& batch);
/// By a layer's weights. torch::nn::Linear itself adds its bias in a pass of its own where x has three
/// dimensions.
at::Tensor linear(const at::Tensor& x, const torch::nn::Linear& layer, const ModelBatch& batch);

}  // namespace muster
