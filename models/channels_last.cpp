#include "models/channels_last.h"

#include <torch/torch.h>

namespace muster {

at::Tensor with_channels_last(const at::Tensor& x) {
  return x.contiguous(x.dim() == 5 ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::ChannelsLast);
}

void lay_channels_last(torch::nn::Module& module) {
  for (auto& parameter : module.named_parameters()) {
    at::Tensor& weight = parameter.value();
    if (weight.dim() == 4 || weight.dim() == 5) weight.set_data(with_channels_last(weight));
  }
}

}  // namespace muster
