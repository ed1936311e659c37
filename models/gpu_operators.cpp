#include "models/gpu_operators.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>
#include <torch/torch.h>

#include <optional>
#include <tuple>

TORCH_LIBRARY(muster, library) {
  library.def("dropout_mask(Tensor keys, int per_row, int keep_below, float scale) -> Tensor");
  library.def(
      "cross_entropy(Tensor scores, Tensor classes_of, Tensor weights) -> (Tensor sums, Tensor log_sums)");
  library.def(
      "cross_entropy_backward(Tensor scores, Tensor classes_of, Tensor weights, Tensor log_sums, "
      "Tensor d_sums) -> Tensor");
  library.def("column_sums(Tensor x) -> Tensor");
  library.def(
      "add_norm(Tensor x, Tensor delta, Tensor weight, Tensor bias, ScalarType type) -> "
      "(Tensor sum, Tensor normal, Tensor mean, Tensor inverse)");
  library.def(
      "add_norm_backward(Tensor? d_sum, Tensor d_normal, Tensor sum, Tensor weight, Tensor mean, "
      "Tensor inverse, ScalarType delta_type) -> (Tensor, Tensor, Tensor, Tensor)");
  library.def(
      "batch_norm(Tensor x, Tensor? other, Tensor weight, Tensor bias, bool relu, float epsilon) -> "
      "(Tensor y, Tensor mean, Tensor inverse)");
  library.def(
      "batch_norm_backward(Tensor dy, Tensor x, Tensor? y, Tensor weight, Tensor bias, Tensor mean, "
      "Tensor inverse, bool relu) -> (Tensor, Tensor, Tensor, Tensor)");
}

namespace muster {
namespace {

template <typename Signature>
auto operator_of(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

class CrossEntropy : public torch::autograd::Function<CrossEntropy> {
 public:
  // NOLINTBEGIN: the signatures are autograd's.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& scores,
                            const at::Tensor& classes_of, const at::Tensor& weights) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [sums, log_sums] = operator_of<std::tuple<at::Tensor, at::Tensor>(
        const at::Tensor&, const at::Tensor&, const at::Tensor&)>("muster::cross_entropy")
                                      .call(scores, classes_of, weights);
    context->save_for_backward({scores, classes_of, weights, log_sums});
    return sums;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    return {operator_of<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                   const at::Tensor&)>("muster::cross_entropy_backward")
                .call(saved[0], saved[1], saved[2], saved[3], gradients[0].contiguous()),
            {},
            {}};
  }
  // NOLINTEND
};

using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

class AddNorm : public torch::autograd::Function<AddNorm> {
 public:
  // NOLINTBEGIN: the signatures are autograd's.
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const at::Tensor& x, const at::Tensor& delta,
                                                const at::Tensor& weight, const at::Tensor& bias,
                                                at::ScalarType type) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [sum, normal, mean, inverse] =
        operator_of<Four(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                         at::ScalarType)>("muster::add_norm")
            .call(x, delta, weight, bias, type);
    context->set_materialize_grads(false);  // of the last sum there are none
    context->save_for_backward({sum, weight, mean, inverse});
    context->saved_data["delta_type"] = static_cast<std::int64_t>(delta.scalar_type());
    return {sum, normal};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto type = static_cast<at::ScalarType>(context->saved_data["delta_type"].toInt());
    if (!gradients[1].defined()) return {gradients[0], gradients[0].to(type), {}, {}, {}};
    std::optional<at::Tensor> d_sum;
    if (gradients[0].defined()) d_sum = gradients[0].contiguous();
    const auto [d_x, d_delta, d_weight, d_bias] =
        operator_of<Four(const std::optional<at::Tensor>&, const at::Tensor&, const at::Tensor&,
                         const at::Tensor&, const at::Tensor&, const at::Tensor&, at::ScalarType)>(
            "muster::add_norm_backward")
            .call(d_sum, gradients[1].contiguous(), saved[0], saved[1], saved[2], saved[3], type);
    return {d_x, d_delta, d_weight, d_bias, {}};
  }
  // NOLINTEND
};

/// Whether kernels know its type.
bool is_known(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
}

at::MemoryFormat channels_last(const at::Tensor& x) {
  return x.dim() == 5   ? at::MemoryFormat::ChannelsLast3d
         : x.dim() == 4 ? at::MemoryFormat::ChannelsLast
                        : at::MemoryFormat::Contiguous;
}

class BatchNormOfRows : public torch::autograd::Function<BatchNormOfRows> {
 public:
  // NOLINTBEGIN: the signatures are autograd's.
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const at::Tensor& x, const std::optional<at::Tensor>& other,
                                                const at::Tensor& weight, const at::Tensor& bias, bool relu,
                                                double epsilon) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [y, mean, inverse] = operator_of<std::tuple<at::Tensor, at::Tensor, at::Tensor>(
        const at::Tensor&, const std::optional<at::Tensor>&, const at::Tensor&, const at::Tensor&, bool,
        double)>("muster::batch_norm")
                                        .call(x, other, weight, bias, relu, epsilon);
    // Where nothing was added x tells which values relu let through.
    context->save_for_backward({x, other ? y : at::Tensor(), weight, bias, mean, inverse});
    context->saved_data["relu"] = relu;
    context->mark_non_differentiable({mean, inverse});
    context->set_materialize_grads(false);
    return {y, mean, inverse};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    std::optional<at::Tensor> y;
    if (saved[1].defined()) y = saved[1];
    const auto [dx, d_other, d_weight, d_bias] =
        operator_of<Four(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                         const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, bool)>(
            "muster::batch_norm_backward")
            .call(gradients[0].contiguous(channels_last(x)), x, y, saved[2], saved[3], saved[4], saved[5],
                  context->saved_data["relu"].toBool());
    return {dx, d_other, d_weight, d_bias, {}, {}};
  }
  // NOLINTEND
};

}  // namespace

at::Tensor gpu_dropout_mask(const at::Tensor& keys, std::int64_t per_row, std::uint64_t keep_below,
                            float scale) {
  return operator_of<at::Tensor(const at::Tensor&, std::int64_t, std::int64_t, double)>(
             "muster::dropout_mask")
      .call(keys, per_row, static_cast<std::int64_t>(keep_below), scale);
}

at::Tensor gpu_cross_entropy(const at::Tensor& scores, const at::Tensor& classes_of,
                             const at::Tensor& weights) {
  return CrossEntropy::apply(scores.contiguous(), classes_of.contiguous(), weights.contiguous());
}

bool has_gpu_cross_entropy(const at::Tensor& scores) { return scores.is_cuda() && is_known(scores); }

at::Tensor gpu_column_sums(const at::Tensor& x) {
  return operator_of<at::Tensor(const at::Tensor&)>("muster::column_sums").call(x);
}

std::pair<at::Tensor, at::Tensor> gpu_add_norm(const at::Tensor& x, const at::Tensor& delta,
                                               const at::Tensor& weight, const at::Tensor& bias,
                                               at::ScalarType type) {
  auto both = AddNorm::apply(x.contiguous(), delta.contiguous(), weight, bias, type);
  return {both[0], both[1]};
}

bool has_gpu_add_norm(const at::Tensor& x, const at::Tensor& delta, at::ScalarType type) {
  constexpr std::int64_t kMostValues = 2048;
  return x.is_cuda() && x.scalar_type() == at::kFloat && delta.sizes() == x.sizes() &&
         (delta.scalar_type() == at::kFloat || delta.scalar_type() == type) && x.size(-1) % 4 == 0 &&
         x.size(-1) <= kMostValues && x.numel() > 0;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> gpu_batch_norm(const at::Tensor& x, const at::Tensor* other,
                                                              const at::Tensor& weight,
                                                              const at::Tensor& bias, bool relu,
                                                              double epsilon) {
  const std::optional<at::Tensor> added = other == nullptr ? std::nullopt : std::optional(*other);
  auto all = BatchNormOfRows::apply(x, added, weight, bias, relu, epsilon);
  return {all[0], all[1], all[2]};
}

bool has_gpu_batch_norm(const at::Tensor& x, const at::Tensor* other) {
  constexpr std::int64_t kPack = 16;  // bytes
  const auto is_ready = [](const at::Tensor& tensor) { return tensor.is_contiguous(channels_last(tensor)); };
  return x.is_cuda() && is_known(x) && (x.dim() == 2 || x.dim() == 4 || x.dim() == 5) && is_ready(x) &&
         x.size(1) * x.element_size() % kPack == 0 && x.numel() > 0 &&
         (other == nullptr ||
          (other->sizes() == x.sizes() && other->scalar_type() == x.scalar_type() && is_ready(*other)));
}

}  // namespace muster
