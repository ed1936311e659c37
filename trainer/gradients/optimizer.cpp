#include "trainer/gradients/optimizer.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include "core/error.h"
#include "core/text.h"
#include "models/host_copy.h"
#include "trainer/checkpoint/module_tensors.h"

namespace muster {

namespace {

void check(const OptimizerSettings& settings) {
  const std::vector<std::string> known{"adamw", "sgd"};
  if (settings.name != "adamw" && settings.name != "sgd") {
    fail(ErrorCode::kConfig, "there is no optimizer '{}'{}; known: {}", settings.name,
         did_you_mean(settings.name, known), join(known, ", "));
  }
  const std::vector<std::string> decays{"all", "matrices"};
  if (std::ranges::find(decays, settings.decay) == decays.end())
    fail(ErrorCode::kConfig, "optimizer.decay is '{}'; known: {}", settings.decay, join(decays, ", "));
  const auto wants = [](bool holds, const char* what, double value) {
    if (!holds) fail(ErrorCode::kConfig, "the optimizer's {}; it is {}", what, value);
  };
  wants(settings.weight_decay >= 0, "weight decay must be at least 0", settings.weight_decay);
  wants(settings.momentum >= 0, "momentum must be at least 0", settings.momentum);
  wants(settings.epsilon > 0, "epsilon must be above 0", settings.epsilon);
  wants(settings.beta1 >= 0 && settings.beta1 < 1, "beta1 must be at least 0 and below 1", settings.beta1);
  wants(settings.beta2 >= 0 && settings.beta2 < 1, "beta2 must be at least 0 and below 1", settings.beta2);
  wants(!settings.nesterov || settings.momentum > 0, "momentum must be above 0 for Nesterov",
        settings.momentum);
}

}  // namespace

struct Optimizer::State {
  OptimizerSettings settings;
  std::vector<std::string> names;
  // One entry per trainable parameter, or none where the method keeps no such state.
  std::vector<at::Tensor> parameters;
  std::vector<at::Tensor> momenta;   ///< sgd with momentum
  std::vector<at::Tensor> averages;  ///< adamw
  std::vector<at::Tensor> squares;
  std::vector<at::Tensor> steps;  ///< 0-dim int64
  /// Parameters, by their numbers, that are updated together.
  struct Group {
    double weight_decay = 0;
    std::vector<std::size_t> numbers;
  };
  std::vector<Group> groups;

  void make_groups() {
    Group decayed{settings.weight_decay, {}};
    Group others;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      (settings.decay == "all" || parameters[i].dim() >= 2 ? decayed : others).numbers.push_back(i);
    for (Group* group : {&decayed, &others}) {
      if (!group->numbers.empty()) groups.push_back(std::move(*group));
    }
  }

  static std::vector<at::Tensor> chosen(const Group& group, const std::vector<at::Tensor>& all) {
    std::vector<at::Tensor> of_group;
    if (all.empty()) return of_group;
    for (const std::size_t number : group.numbers) of_group.push_back(all[number]);
    return of_group;
  }

  /// Everything that a checkpoint must hold; shares memory.
  NamedTensors tensors() const {
    NamedTensors all;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (!momenta.empty()) all.emplace_back(names[i] + ".momentum_buffer", momenta[i]);
      if (averages.empty()) continue;
      all.emplace_back(names[i] + ".exp_avg", averages[i]);
      all.emplace_back(names[i] + ".exp_avg_sq", squares[i]);
      all.emplace_back(names[i] + ".step", steps[i]);
    }
    return all;
  }

  std::vector<at::Tensor> gradients() const {
    std::vector<at::Tensor> all;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      all.push_back(parameters[i].grad());
      ensure(all.back().defined(), "'{}' has no gradient", names[i]);
    }
    return all;
  }

  void adamw(double learning_rate, const std::vector<at::Tensor>& all_gradients) {
    for (at::Tensor& step : steps) step.add_(1);
    for (const Group& group : groups) {
      std::vector<at::Tensor> counts = counts_of(chosen(group, steps));
      std::vector<at::Tensor> weights = chosen(group, parameters);
      std::vector<at::Tensor> first = chosen(group, averages);
      std::vector<at::Tensor> second = chosen(group, squares);
      at::_fused_adamw_(weights, chosen(group, all_gradients), first, second, {}, counts, learning_rate,
                        settings.beta1, settings.beta2, group.weight_decay, settings.epsilon,
                        /*amsgrad=*/false, /*maximize=*/false);
    }
  }

  /// As the kernel wants them: float32, where the weights are. They are the same for all parameters, but
  /// where a checkpoint of another program says otherwise: a copy for each would cost more than the update of
  /// a small one.
  std::vector<at::Tensor> counts_of(const std::vector<at::Tensor>& of_steps) const {
    std::map<std::int64_t, at::Tensor> made;
    std::vector<at::Tensor> counts;
    for (const at::Tensor& step : of_steps) {
      const auto number = step.item<std::int64_t>();
      at::Tensor& count = made[number];
      if (!count.defined())
        count = at::full({}, static_cast<double>(number),
                         at::TensorOptions(at::kFloat).device(parameters.front().device()));
      counts.push_back(count);
    }
    return counts;
  }

  void sgd(double learning_rate, const std::vector<at::Tensor>& all_gradients) {
    for (const Group& group : groups) {
      std::vector<at::Tensor> weights = chosen(group, parameters);
      std::vector<at::Tensor> kept = chosen(group, momenta);
      // Momenta start as zeros, so that the first step is like any other.
      at::_fused_sgd_(weights, chosen(group, all_gradients), kept, group.weight_decay, settings.momentum,
                      learning_rate, /*dampening=*/0, settings.nesterov, /*maximize=*/false,
                      /*is_first_step=*/false);
    }
  }
};

Optimizer::Optimizer(torch::nn::Module& module, const OptimizerSettings& settings)
    : state_(std::make_unique<State>()) {
  check(settings);
  const torch::NoGradGuard no_grad;
  state_->settings = settings;
  for (const auto& [name, parameter] : trainable_parameters(module)) {
    state_->names.push_back(name);
    state_->parameters.push_back(parameter);
    if (settings.name == "adamw") {
      state_->averages.push_back(at::zeros_like(parameter));
      state_->squares.push_back(at::zeros_like(parameter));
      state_->steps.push_back(at::zeros({}, at::kLong));
    } else if (settings.momentum != 0) {
      state_->momenta.push_back(at::zeros_like(parameter));
    }
  }
  state_->make_groups();
}

Optimizer::~Optimizer() = default;

double Optimizer::clip(double max_norm) {
  const torch::NoGradGuard no_grad;
  const std::vector<at::Tensor> gradients = state_->gradients();
  const std::vector<at::Tensor> norms = at::_foreach_norm(gradients);  // of few kernels on a GPU
  const HostCopy on_host(at::stack(norms));
  double squares = 0;
  for (const double norm : on_host.values<float>()) squares += norm * norm;
  const double norm = std::sqrt(squares);
  if (max_norm > 0 && std::isfinite(norm) && norm > max_norm) at::_foreach_mul_(gradients, max_norm / norm);
  return norm;
}

void Optimizer::step(double learning_rate) {
  const torch::NoGradGuard no_grad;
  if (state_->settings.name == "adamw") {
    state_->adamw(learning_rate, state_->gradients());
  } else {
    state_->sgd(learning_rate, state_->gradients());
  }
}

NamedTensors Optimizer::tensors() const { return state_->tensors(); }

bool Optimizer::fits(const std::vector<TensorBlob>& blobs) const {
  return attempt([&] {
           check_blobs(state_->tensors(), blobs, "the optimizer state");
           return true;
         })
      .ok();
}

void Optimizer::load_state(const std::vector<TensorBlob>& blobs) {
  check_blobs(state_->tensors(), blobs, "the optimizer state");
  copy_blobs(state_->tensors(), blobs);
}

}  // namespace muster
