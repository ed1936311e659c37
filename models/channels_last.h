#pragma once
// Arrays whose channels lie side by side in memory.

namespace at {
class Tensor;
}
namespace torch::nn {
class Module;
}

namespace muster {

/// The same values, [rows, channels, height, width] or [rows, channels, depth, height, width], with the
/// channels of a place side by side in memory: what convolutions are fastest with on most machines.
at::Tensor with_channels_last(const at::Tensor& x);
/// The same of all weights of convolutions; their names, shapes and values stay.
void lay_channels_last(torch::nn::Module& module);

}  // namespace muster
