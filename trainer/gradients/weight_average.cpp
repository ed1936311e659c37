#include "trainer/gradients/weight_average.h"

#include <torch/torch.h>

#include <algorithm>

#include "core/error.h"

namespace muster {
namespace {

constexpr std::string_view kTrained = ".trained";

NamedTensors as_trained(const NamedTensors& parameters) {
  NamedTensors all;
  for (const auto& [name, tensor] : parameters) all.emplace_back(name + std::string(kTrained), tensor);
  return all;
}

}  // namespace

struct WeightAverage::State {
  double decay = 0;
  NamedTensors parameters;
  std::vector<at::Tensor> averages;
};

WeightAverage::WeightAverage(torch::nn::Module& module, double decay) : state_(std::make_unique<State>()) {
  ensure(decay > 0 && decay < 1, "weights averaged with a decay of {}", decay);
  const torch::NoGradGuard no_grad;
  state_->decay = decay;
  state_->parameters = trainable_parameters(module);
  for (const auto& [name, parameter] : state_->parameters)
    state_->averages.push_back(parameter.detach().clone());
}

WeightAverage::~WeightAverage() = default;

void WeightAverage::restart() {
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < state_->averages.size(); ++i)
    state_->averages[i].copy_(state_->parameters[i].second);
}

void WeightAverage::update(std::uint64_t step) {
  const torch::NoGradGuard no_grad;
  const auto count = static_cast<double>(step);
  const double decay = std::min(state_->decay, (1 + count) / (10 + count));
  std::vector<at::Tensor> weights;
  for (const auto& [name, parameter] : state_->parameters) weights.push_back(parameter.detach());
  at::_foreach_lerp_(state_->averages, weights, 1 - decay);
}

void WeightAverage::exchange() {
  for (std::size_t i = 0; i < state_->averages.size(); ++i) {
    at::Tensor& parameter = state_->parameters[i].second;
    const at::Tensor weights = parameter.detach();
    const at::Tensor average = state_->averages[i].detach();
    parameter.set_data(average);
    state_->averages[i].set_data(weights);
  }
}

NamedTensors WeightAverage::averaged_tensors(torch::nn::Module& module) const {
  NamedTensors all = module_tensors(module);
  for (auto& [name, tensor] : all) {
    const auto same = [&](const auto& known) { return known.second.is_same(tensor); };
    const auto found = std::ranges::find_if(state_->parameters, same);
    if (found != state_->parameters.end())
      tensor = state_->averages[static_cast<std::size_t>(found - state_->parameters.begin())];
  }
  return all;
}

NamedTensors WeightAverage::trained_tensors() const { return as_trained(state_->parameters); }

std::vector<TensorBlob> take_trained(std::vector<TensorBlob>& optimizer_state) {
  const auto is_trained = [](const TensorBlob& blob) { return blob.name.ends_with(kTrained); };
  const auto first =
      std::ranges::stable_partition(optimizer_state, [&](const auto& blob) { return !is_trained(blob); });
  std::vector<TensorBlob> trained(std::make_move_iterator(first.begin()),
                                  std::make_move_iterator(first.end()));
  optimizer_state.erase(first.begin(), first.end());
  return trained;
}

void set_trained(torch::nn::Module& module, const std::vector<TensorBlob>& trained) {
  const NamedTensors parameters = as_trained(trainable_parameters(module));
  check_blobs(parameters, trained, "the trained weights beside their averages");
  copy_blobs(parameters, trained);
}

}  // namespace muster
