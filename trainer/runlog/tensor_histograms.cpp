#include "trainer/runlog/tensor_histograms.h"

#include <torch/torch.h>

#include "trainer/checkpoint/module_tensors.h"

namespace muster {
namespace {

Histogram histogram_of(const at::Tensor& tensor) {
  const at::Tensor values = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
  return make_histogram({values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel())});
}

}  // namespace

std::vector<NamedHistogram> weight_histograms(torch::nn::Module& module) {
  std::vector<NamedHistogram> histograms;
  for (const auto& [name, parameter] : module_parameters(module)) {
    histograms.push_back({"weights/" + name, histogram_of(parameter)});
  }
  return histograms;
}

std::vector<NamedHistogram> gradient_histograms(torch::nn::Module& module) {
  std::vector<NamedHistogram> histograms;
  for (const auto& [name, parameter] : trainable_parameters(module)) {
    if (parameter.grad().defined())
      histograms.push_back({"gradients/" + name, histogram_of(parameter.grad())});
  }
  return histograms;
}

}  // namespace muster
