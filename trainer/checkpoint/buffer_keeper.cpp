#include "trainer/checkpoint/buffer_keeper.h"

#include <torch/torch.h>

namespace muster {

struct BufferKeeper::Kept {
  at::Tensor buffer;
  at::Tensor copy;
  std::uint32_t version = 0;  ///< of the buffer when it was last as the copy: autograd counts writes

  bool changed() const { return buffer._version() != version; }
};

BufferKeeper::BufferKeeper(torch::nn::Module& module) {
  for (const auto& named : module.named_buffers()) {
    const at::Tensor& buffer = named.value();
    kept_.push_back({buffer, buffer.detach().clone(), static_cast<std::uint32_t>(buffer._version())});
  }
}

BufferKeeper::~BufferKeeper() = default;

void BufferKeeper::save() {
  const torch::NoGradGuard no_grad;
  for (Kept& kept : kept_) {
    if (!kept.changed()) continue;
    kept.copy.copy_(kept.buffer);
    kept.version = static_cast<std::uint32_t>(kept.buffer._version());
  }
}

void BufferKeeper::restore() {
  const torch::NoGradGuard no_grad;
  for (Kept& kept : kept_) {
    if (!kept.changed()) continue;
    kept.buffer.copy_(kept.copy);
    kept.version = static_cast<std::uint32_t>(kept.buffer._version());
  }
}

}  // namespace muster
