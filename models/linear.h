#pragma once
// A linear layer, in as few passes as there can be.

namespace at {
class Tensor;
}
namespace torch::nn {
class Linear;
}

namespace muster {

/// x Wᵀ + b over the last dimension; without b where that is undefined. As at::linear; under autocast on a
/// GPU the gradients of W and b are float32 from the product on, not rounded to fewer bits first.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
/// By a layer's weights. torch::nn::Linear itself adds its bias in a pass of its own where x has three
/// dimensions.
at::Tensor linear(const at::Tensor& x, const torch::nn::Linear& layer);

}  // namespace muster
