#pragma once
// Where tensors are computed.

namespace c10 {
struct Device;
}
namespace torch::nn {
class Module;
}

namespace muster {

/// The CPU, or one of the GPUs that this process sees.
struct ComputeDevice {
  bool gpu = false;
  int index = 0;  ///< of the GPU, in CUDA's order
  bool operator==(const ComputeDevice&) const = default;
};

c10::Device as_torch(const ComputeDevice& device);
/// Parameters and buffers, in place: who shares them has them there too.
void move_to(torch::nn::Module& module, const ComputeDevice& device);

}  // namespace muster
