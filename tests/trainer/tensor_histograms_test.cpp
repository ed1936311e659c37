#include "trainer/runlog/tensor_histograms.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace muster {
namespace {

/// A tied weight, a parameter that is not contiguous, a frozen one of another type, one without a gradient.
class Net : public torch::nn::Module {
 public:
  Net() {
    inner = register_module("inner", torch::nn::Linear(torch::nn::LinearOptions(3, 2).bias(false)));
    register_parameter("tied", inner->weight);
    turned = register_parameter("turned", at::arange(6, at::kFloat).view({2, 3}).t());
    register_parameter("frozen", at::full({4}, 2).to(at::kHalf), false);
    register_parameter("unused", at::ones({5}));
    register_buffer("mean", at::ones({2}));
  }
  torch::nn::Linear inner{nullptr};
  at::Tensor turned;
};

std::vector<std::string> names(const std::vector<NamedHistogram>& histograms) {
  std::vector<std::string> found;
  for (const NamedHistogram& named : histograms)
    found.push_back(named.name + " " + std::to_string(named.histogram.count));
  return found;
}

TEST(TensorHistograms, AreOfEveryParameterOnceUnderItsName) {
  Net net;
  const auto weights = weight_histograms(net);
  EXPECT_EQ(names(weights), (std::vector<std::string>{"weights/tied 6", "weights/turned 6",
                                                      "weights/frozen 4", "weights/unused 5"}));
  EXPECT_EQ(weights[1].histogram.sum_squares, 0 + 1 + 4 + 9 + 16 + 25);
  EXPECT_EQ(weights[2].histogram.sum, 8);
}

TEST(TensorHistograms, AreOfTheGradientsThereAre) {
  Net net;
  (net.turned * at::arange(6, at::kFloat).view({3, 2})).sum().backward();
  (net.inner->weight.sum() * 3).backward();
  const auto gradients = gradient_histograms(net);
  EXPECT_EQ(names(gradients), (std::vector<std::string>{"gradients/tied 6", "gradients/turned 6"}));
  EXPECT_EQ(gradients[0].histogram.sum, 18);
  EXPECT_EQ(gradients[1].histogram.max, 5);
}

}  // namespace
}  // namespace muster
