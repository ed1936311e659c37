#include "trainer/gradients/loss_gradient.h"

#include <torch/torch.h>

namespace muster {

struct LossGradient::State {
  at::Tensor gradient;
  double scale = 0;
};

LossGradient::LossGradient() : state_(std::make_unique<State>()) {}
LossGradient::~LossGradient() = default;

void LossGradient::backward(const at::Tensor& sums, double scale) {
  at::Tensor& gradient = state_->gradient;
  if (!gradient.defined() || state_->scale != scale || gradient.options().device() != sums.device() ||
      gradient.scalar_type() != sums.scalar_type()) {
    gradient = at::tensor({scale, 0.0}, at::kDouble).to(sums.options());
    state_->scale = scale;
  }
  sums.backward(gradient);
}

}  // namespace muster
