#pragma once
// What a backward pass starts from.

#include <memory>

namespace at {
class Tensor;
}

namespace muster {

/// Starts backward passes from Model::loss's two sums: the gradient of the first is `scale`, that of the
/// second 0. Kept while scale, type and device stay as they are, as on a GPU it would be made by several
/// kernels each time. One thread.
class LossGradient {
 public:
  LossGradient();
  ~LossGradient();
  LossGradient(const LossGradient&) = delete;
  LossGradient& operator=(const LossGradient&) = delete;

  void backward(const at::Tensor& sums, double scale);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster
