#include "models/compute_device.h"

#include <torch/torch.h>

namespace muster {

c10::Device as_torch(const ComputeDevice& device) {
  return device.gpu ? c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device.index))
                    : c10::Device(c10::DeviceType::CPU);
}

void move_to(torch::nn::Module& module, const ComputeDevice& device) {
  if (device.gpu) module.to(as_torch(device));
}

}  // namespace muster
