#include "models/linear.h"

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include <optional>

#include "models/gpu_operators.h"

namespace muster {
namespace {

/// In `type`, on a GPU.
class NarrowLinear : public torch::autograd::Function<NarrowLinear> {
 public:
  // NOLINTBEGIN: the signatures are autograd's.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            at::ScalarType type) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const at::Tensor rows = x.reshape({-1, x.size(-1)}).to(type);
    const at::Tensor narrow = weight.to(type);
    const at::Tensor y = bias ? at::addmm(bias->to(type), rows, narrow.t()) : at::mm(rows, narrow.t());
    std::vector<std::int64_t> sizes = x.sizes().vec();
    context->save_for_backward({rows, narrow});
    context->saved_data["sizes"] = sizes;
    context->saved_data["type"] = static_cast<std::int64_t>(x.scalar_type());
    context->saved_data["bias"] = bias.has_value();
    sizes.back() = weight.size(0);
    return y.view(sizes);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &rows = saved[0], &narrow = saved[1];
    const at::Tensor dy = gradients[0].reshape({-1, narrow.size(0)}).to(narrow.scalar_type()).contiguous();
    torch::autograd::variable_list made(4);
    if (context->needs_input_grad(0)) {
      made[0] = at::mm(dy, narrow)
                    .view(context->saved_data["sizes"].toIntVector())
                    .to(static_cast<at::ScalarType>(context->saved_data["type"].toInt()));
    }
    if (context->needs_input_grad(1)) made[1] = at::mm(dy.t(), rows, at::kFloat);
    if (context->saved_data["bias"].toBool() && context->needs_input_grad(2)) made[2] = gpu_column_sums(dy);
    return made;
  }
  // NOLINTEND
};

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (!x.is_cuda() || !at::autocast::is_autocast_enabled(at::kCUDA) || x.numel() == 0)
    return at::linear(x, weight, bias);
  const std::optional<at::Tensor> added = bias.defined() ? std::optional(bias) : std::nullopt;
  return NarrowLinear::apply(x, weight, added, at::autocast::get_autocast_dtype(at::kCUDA));
}

at::Tensor linear(const at::Tensor& x, const torch::nn::Linear& layer) {
  return linear(x, layer->weight, layer->bias);
}

}  // namespace muster
