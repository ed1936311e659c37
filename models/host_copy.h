#pragma once
// Numbers of a tensor on their way to the host: a GPU goes on meanwhile with what it is given after them.

#include <memory>
#include <span>

namespace at {
class Tensor;
}

namespace muster {

class HostCopy {
 public:
  /// Of float32 or float64 values. From a GPU: after all that the current stream was given so far.
  explicit HostCopy(const at::Tensor& tensor);
  ~HostCopy();
  HostCopy(HostCopy&&) noexcept;
  HostCopy& operator=(HostCopy&&) noexcept;

  /// Waits until they are here. Valid while this lives. T: the tensor's.
  template <typename T>
  std::span<const T> values() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster
