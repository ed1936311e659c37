#include "models/linear.h"

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include <optional>

#include "core/error.h"
#include "models/gpu_operators.h"

namespace muster {
namespace {

struct Places : torch::CustomClassHolder {
  explicit Places(GradientPlaces function) : of(std::move(function)) {}
  GradientPlaces of;
};

/// Computes in `type`; parameters are float32.
class LinearFunction : public torch::autograd::Function<LinearFunction> {
 public:
  // NOLINTBEGIN: the signatures are autograd's.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            at::ScalarType type, const GradientPlaces& places) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const at::Tensor rows = x.reshape({-1, x.size(-1)}).to(type);
    const at::Tensor narrow = weight.to(type);
    const at::Tensor y = bias ? at::addmm(bias->to(type), rows, narrow.t()) : at::mm(rows, narrow.t());
    std::vector<std::int64_t> sizes = x.sizes().vec();
    // x itself where it is what was multiplied: autograd sees when it is written to.
    context->save_for_backward({x.scalar_type() == type ? x : rows, narrow, weight});
    context->saved_data["sizes"] = sizes;
    context->saved_data["type"] = static_cast<std::int64_t>(x.scalar_type());
    context->saved_data["bias"] = bias.has_value();
    context->saved_data["places"] = at::IValue::make_capsule(c10::make_intrusive<Places>(places));
    sizes.back() = weight.size(0);
    return y.view(sizes);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    ensure(!at::GradMode::is_enabled(), "a linear layer has no second derivatives");
    const at::Tensor &narrow = saved[1], &weight = saved[2];
    const at::Tensor rows = saved[0].reshape({-1, saved[0].size(-1)});
    const at::Tensor dy = gradients[0].reshape({-1, narrow.size(0)}).to(narrow.scalar_type()).contiguous();
    torch::autograd::variable_list made(5);
    if (context->needs_input_grad(0)) {
      made[0] = at::mm(dy, narrow)
                    .view(context->saved_data["sizes"].toIntVector())
                    .to(static_cast<at::ScalarType>(context->saved_data["type"].toInt()));
    }
    if (context->needs_input_grad(1)) {
      const auto places =
          c10::static_intrusive_pointer_cast<Places>(context->saved_data["places"].toCapsule());
      made[1] = of_weight(dy, rows, places->of ? places->of(weight) : at::Tensor());
    }
    if (context->saved_data["bias"].toBool() && context->needs_input_grad(2))
      made[2] = dy.is_cuda() ? gpu_column_sums(dy) : dy.sum(0);
    return made;
  }
  // NOLINTEND

 private:
  static at::Tensor of_weight(const at::Tensor& dy, const at::Tensor& rows, at::Tensor place) {
    const bool narrow = dy.scalar_type() != at::kFloat;
    if (!place.defined()) return narrow ? at::mm(dy.t(), rows, at::kFloat) : at::mm(dy.t(), rows);
    if (narrow) {
      at::mm_out(place, dy.t(), rows, at::kFloat);
    } else {
      at::mm_out(place, dy.t(), rows);
    }
    return place;
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  const ModelBatch& batch) {
  const bool casts = at::autocast::is_autocast_enabled(x.device().type());
  // On a CPU narrow products have no float32 results.
  if ((casts && !x.is_cuda()) || weight.scalar_type() != at::kFloat || x.numel() == 0)
    return at::linear(x, weight, bias);
  const std::optional<at::Tensor> added = bias.defined() ? std::optional(bias) : std::nullopt;
  return LinearFunction::apply(x, weight, added,
                               casts ? at::autocast::get_autocast_dtype(at::kCUDA) : at::kFloat,
                               batch.gradient_places());
}

at::Tensor linear(const at::Tensor& x, const torch::nn::Linear& layer, const ModelBatch& batch) {
  return linear(x, layer->weight, layer->bias, batch);
}

}  // namespace muster
