#include "models/host_copy.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/torch.h>

#include <optional>

namespace muster {

struct HostCopy::State {
  at::Tensor on_host;
  std::optional<c10::Event> done;  ///< nothing: they are here
};

HostCopy::HostCopy(const at::Tensor& tensor) : state_(std::make_unique<State>()) {
  const torch::NoGradGuard no_grad;
  const at::Tensor whole = tensor.detach().contiguous();
  if (!whole.is_cuda()) {
    state_->on_host = whole;
    return;
  }
  // Page-locked, or the host would wait for the copy.
  state_->on_host = at::empty(whole.sizes(), whole.options().device(at::kCPU).pinned_memory(true));
  state_->on_host.copy_(whole, /*non_blocking=*/true);
  state_->done.emplace(c10::DeviceType::CUDA);
  state_->done->record(c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(whole.device()));
}

HostCopy::~HostCopy() = default;
HostCopy::HostCopy(HostCopy&&) noexcept = default;
HostCopy& HostCopy::operator=(HostCopy&&) noexcept = default;

template <typename T>
std::span<const T> HostCopy::values() const {
  if (state_->done) state_->done->synchronize();
  return {state_->on_host.const_data_ptr<T>(), static_cast<std::size_t>(state_->on_host.numel())};
}

template std::span<const float> HostCopy::values<float>() const;
template std::span<const double> HostCopy::values<double>() const;

}  // namespace muster
