#pragma once
// Floating-point operations of what LibTorch computes.

#include <memory>

namespace muster {

/// Counts, while it lives, the multiplications and additions of matrix products, convolutions and attention
/// that this thread asks LibTorch for: 2 for each pair (as in Chowdhery et al. 2022, appendix B; attention
/// counts whole, causal or not). All else is left out. One at a time in a thread.
class FlopCounter {
 public:
  FlopCounter();
  ~FlopCounter();
  FlopCounter(const FlopCounter&) = delete;
  FlopCounter& operator=(const FlopCounter&) = delete;

  double count() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A training step's operations by those of its forward pass: the backward pass makes two products of each.
constexpr double kTrainingFlopsPerForward = 3;

}  // namespace muster
