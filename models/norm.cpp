#include "models/norm.h"

#include <torch/torch.h>

#include <algorithm>

#include "core/error.h"

namespace muster {

std::int64_t norm_groups(std::int64_t channels, std::int64_t least, std::int64_t most) {
  std::int64_t groups = std::clamp<std::int64_t>(channels / least, 1, most);
  while (channels % groups != 0) --groups;
  return groups;
}

Option norm_option() {
  return {"norm",
          OptionType::kText,
          "group",
          "what keeps activations in range: group (of channels, each row by itself), batch (over the rows "
          "that a lane "
          "gives to a step), batch_sync (over all rows of a step, on all ranks)",
          {"group", "batch", "batch_sync"}};
}

Norm::Norm(torch::nn::Module& owner, const std::string& name, std::int64_t channels,
           const std::string& kind) {
  if (kind == "group") {
    const auto options = torch::nn::GroupNormOptions(norm_groups(channels, 2, 32), channels);
    auto norm = owner.register_module(name, torch::nn::GroupNorm(options));
    forward_ = [norm](const at::Tensor& x, const ModelBatch&, const AfterNorm& after) {
      return applied(after, norm->forward(x));
    };
    return;
  }
  ensure(kind == "batch" || kind == "batch_sync", "a norm of kind '{}'", kind);
  const auto over = kind == "batch" ? BatchNormOver::kLane : BatchNormOver::kGlobalBatch;
  forward_ = [norm = BatchNorm(owner, name, channels, over)](const at::Tensor& x, const ModelBatch& batch,
                                                             const AfterNorm& after) {
    return norm.forward(x, batch, after);
  };
}

at::Tensor Norm::operator()(const at::Tensor& x, const ModelBatch& batch, const AfterNorm& after) const {
  return forward_(x, batch, after);
}

}  // namespace muster
