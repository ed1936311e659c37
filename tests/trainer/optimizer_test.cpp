#include "trainer/gradients/optimizer.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "core/error.h"
#include "trainer/checkpoint/module_state.h"

namespace muster {
namespace {

/// Two parameters of odd sizes and a frozen one.
class SmallNet : public torch::nn::Module {
 public:
  SmallNet() {
    first = register_parameter("first", at::linspace(-1, 1, 35).view({5, 7}).clone());
    second = register_parameter("second", at::linspace(0, 2, 3));
    frozen = register_parameter("frozen", at::ones({2}), false);
  }
  at::Tensor first;
  at::Tensor second;
  at::Tensor frozen;
};

void set_gradients(SmallNet& net, int step) {
  net.first.mutable_grad() = at::sin(at::arange(35, at::kFloat) * (step + 1)).view({5, 7});
  net.second.mutable_grad() = at::cos(at::arange(3, at::kFloat) + step);
}

void train(SmallNet& net, Optimizer& optimizer, int first, int last) {
  for (int step = first; step < last; ++step) {
    set_gradients(net, step);
    optimizer.step(0.01 / (step + 1));
  }
}

std::vector<OptimizerSettings> all_settings() {
  std::vector<OptimizerSettings> all(7);
  all[1].weight_decay = 0.1;
  all[2].name = all[3].name = all[4].name = "sgd";
  all[3].momentum = 0.9;
  all[4].momentum = 0.8;
  all[4].nesterov = true;
  all[4].weight_decay = 0.05;
  all[5].weight_decay = 0.3;
  all[6] = all[4];
  all[6].weight_decay = 0.3;
  all[5].decay = all[6].decay = "matrices";
  return all;
}

std::string label(const OptimizerSettings& s) {
  return fmt::format("{} momentum {} decay {} of {}", s.name, s.momentum, s.weight_decay, s.decay);
}

std::unique_ptr<torch::optim::Optimizer> reference(SmallNet& net, const OptimizerSettings& s) {
  const bool one_group = s.decay == "all";
  std::vector<at::Tensor> parameters{net.first};
  if (one_group) parameters.push_back(net.second);
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  if (s.name == "adamw") {
    const auto options = torch::optim::AdamWOptions(1e-3).weight_decay(s.weight_decay);
    optimizer = std::make_unique<torch::optim::AdamW>(parameters, options);
  } else {
    const auto options =
        torch::optim::SGDOptions(1e-3).momentum(s.momentum).nesterov(s.nesterov).weight_decay(s.weight_decay);
    optimizer = std::make_unique<torch::optim::SGD>(parameters, options);
  }
  if (one_group) return optimizer;
  torch::optim::OptimizerParamGroup others({net.second}, optimizer->defaults().clone());
  if (s.name == "adamw") {
    static_cast<torch::optim::AdamWOptions&>(others.options()).weight_decay(0);
  } else {
    static_cast<torch::optim::SGDOptions&>(others.options()).weight_decay(0);
  }
  optimizer->add_param_group(others);
  return optimizer;
}

TEST(OptimizerTest, UpdatesAreLibTorchs) {
  for (const OptimizerSettings& settings : all_settings()) {
    SmallNet net;
    SmallNet other;
    Optimizer optimizer(net, settings);
    const auto expected = reference(other, settings);
    for (int step = 0; step < 20; ++step) {
      train(net, optimizer, step, step + 1);
      set_gradients(other, step);
      for (auto& group : expected->param_groups()) group.options().set_lr(0.01 / (step + 1));
      expected->step();
    }
    EXPECT_TRUE(at::allclose(net.first, other.first, 1e-6, 1e-7)) << label(settings);
    EXPECT_TRUE(at::allclose(net.second, other.second, 1e-6, 1e-7)) << label(settings);
    EXPECT_FALSE(at::allclose(net.first, SmallNet().first)) << label(settings);
    EXPECT_TRUE(at::equal(net.frozen, at::ones({2})));
  }
}

TEST(OptimizerTest, ContinuesWithTheSameBitsAfterALoad) {
  for (const OptimizerSettings& settings : all_settings()) {
    for (const int saved_at : {0, 1, 7}) {
      SmallNet undisturbed;
      Optimizer whole(undisturbed, settings);
      train(undisturbed, whole, 0, saved_at);
      const auto weights = module_state(undisturbed);
      const auto state = to_blobs(whole.tensors());
      train(undisturbed, whole, saved_at, 12);

      SmallNet resumed;
      load_module_state(resumed, weights);
      Optimizer rest(resumed, settings);
      rest.load_state(state);
      EXPECT_EQ(to_blobs(rest.tensors()), state);
      train(resumed, rest, saved_at, 12);
      EXPECT_EQ(module_state(resumed), module_state(undisturbed))
          << label(settings) << " saved at " << saved_at;
      EXPECT_EQ(to_blobs(rest.tensors()), to_blobs(whole.tensors()))
          << label(settings) << " saved at " << saved_at;
    }
  }
}

TEST(OptimizerTest, StateIsNamedByParameter) {
  const auto names = [](const OptimizerSettings& settings) {
    SmallNet net;
    std::vector<std::string> found;
    for (const TensorBlob& blob : to_blobs(Optimizer(net, settings).tensors()))
      found.push_back(blob.name + " " + blob.dtype);
    return found;
  };
  const auto all = all_settings();
  EXPECT_EQ(names(all[0]),
            (std::vector<std::string>{"first.exp_avg F32", "first.exp_avg_sq F32", "first.step I64",
                                      "second.exp_avg F32", "second.exp_avg_sq F32", "second.step I64"}));
  EXPECT_TRUE(names(all[2]).empty());
  EXPECT_EQ(names(all[3]),
            (std::vector<std::string>{"first.momentum_buffer F32", "second.momentum_buffer F32"}));
}

TEST(OptimizerTest, RefusesAStateThatDoesNotFitAndStaysAsItWas) {
  SmallNet net;
  Optimizer optimizer(net, {});
  train(net, optimizer, 0, 3);
  const auto before = to_blobs(optimizer.tensors());
  auto missing = before;
  missing.erase(missing.begin() + 1);
  auto extra = before;
  extra.push_back(before[0]);
  extra.back().name = "third.exp_avg";
  auto twice = before;
  twice.push_back(before[0]);
  auto shape = before;
  shape[0].shape = {7, 5};
  auto type = before;
  type[2].dtype = "F64";
  auto size = before;
  size[4].data.pop_back();
  const std::vector<std::pair<std::vector<TensorBlob>, std::string>> cases{
      {missing, "first.exp_avg_sq"}, {extra, "third.exp_avg"}, {twice, "first.exp_avg"},
      {shape, "first.exp_avg"},      {type, "first.step"},     {size, "second.exp_avg_sq"}};
  for (auto [blobs, culprit] : cases) {
    for (TensorBlob& blob : blobs) {
      if (!blob.data.empty()) blob.data[0] ^= std::byte{1};
    }
    try {
      optimizer.load_state(blobs);
      ADD_FAILURE() << culprit;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kStorage);
      EXPECT_NE(error.message().find("'" + culprit + "'"), std::string::npos) << error.message();
    }
    EXPECT_EQ(to_blobs(optimizer.tensors()), before) << culprit;
  }
}

TEST(OptimizerTest, ClipsTheGlobalNorm) {
  SmallNet net;
  Optimizer optimizer(net, {});
  const auto set = [&](float first, float second) {
    net.first.mutable_grad() = at::full({5, 7}, first);
    net.second.mutable_grad() = at::full({3}, second);
  };
  const double norm = std::sqrt(35 * 4.0 + 3 * 9.0);
  set(2, 3);
  EXPECT_NEAR(optimizer.clip(0), norm, 1e-5);
  EXPECT_NEAR(optimizer.clip(norm * 1.01), norm, 1e-5);
  EXPECT_EQ(net.first.grad()[0][0].item<float>(), 2);
  EXPECT_NEAR(optimizer.clip(1), norm, 1e-5);
  EXPECT_NEAR(net.first.grad()[0][0].item<double>(), 2 / norm, 1e-6);
  EXPECT_NEAR(net.second.grad()[2].item<double>(), 3 / norm, 1e-6);
  EXPECT_NEAR(optimizer.clip(0), 1, 1e-6);
  set(INFINITY, 3);
  EXPECT_TRUE(std::isinf(optimizer.clip(1)));
  EXPECT_EQ(net.second.grad()[0].item<float>(), 3);
}

TEST(OptimizerTest, RefusesSettingsOutOfRange) {
  SmallNet net;
  std::vector<OptimizerSettings> bad(8);
  bad[0].name = "adam";
  bad[1].weight_decay = -1;
  bad[2].momentum = -0.1;
  bad[3].beta1 = 1;
  bad[4].beta2 = std::nan("");
  bad[5].nesterov = true;
  bad[6].epsilon = 0;
  bad[7].decay = "some";
  for (const OptimizerSettings& settings : bad) {
    try {
      const Optimizer optimizer(net, settings);
      ADD_FAILURE() << label(settings);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kConfig);
    }
  }
}

}  // namespace
}  // namespace muster
