#include "trainer/gradients/frozen.h"

#include <torch/torch.h>

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/name_pattern.h"
#include "core/text.h"

namespace muster {

void freeze(torch::nn::Module& module, std::span<const std::string> patterns) {
  auto parameters = module.named_parameters();
  for (const std::string& text : patterns) {
    const NamePattern pattern(text);
    bool used = false;
    for (auto& parameter : parameters) {
      if (!pattern.matches(parameter.key())) continue;
      parameter.value().set_requires_grad(false);
      used = true;
    }
    if (!used) {
      fail(ErrorCode::kConfig, "model.frozen: no parameter of the model has a name like '{}'{}; it has {}",
           text, did_you_mean(text, parameters.keys()), some_of(parameters.keys()));
    }
  }
  const auto trained = [](const auto& parameter) { return parameter.value().requires_grad(); };
  if (!patterns.empty() && std::none_of(parameters.begin(), parameters.end(), trained))
    fail(ErrorCode::kConfig, "model.frozen leaves no parameter to train");
}

// train() and eval() reach all below a module: its parts are told after it.
void set_training(torch::nn::Module& module) {
  const auto frozen = [](const at::Tensor& parameter) { return !parameter.requires_grad(); };
  const std::vector<at::Tensor> own = module.parameters(/*recurse=*/false);
  module.train(own.empty() || !std::ranges::all_of(own, frozen));
  for (const auto& part : module.children()) set_training(*part);
}

}  // namespace muster
