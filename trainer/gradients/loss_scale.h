#pragma once
// Dynamic loss scaling (Micikevicius et al. 2018, "Mixed precision training"): gradients in float16 vanish
// below 6e-8, so the loss is multiplied before the backward pass and the sums of its gradients are divided
// after it.

#include <cstdint>

#include "core/json.h"

namespace muster {

/// The same on all ranks, as what it is told follows from numbers that all have. Values are powers of 2 where
/// the first is one: they change no bits of what neither overflows nor vanishes. One thread.
class LossScale {
 public:
  static constexpr std::uint64_t kGoodSteps = 2000;  ///< in a row, after which it doubles

  /// 1: none, for ever. At least 1.
  explicit LossScale(double first);

  double value() const { return value_; }
  /// The step's gradients were finite, and used.
  void good();
  /// They were not, though the loss is: the step is left out with half the scale from here on. False where it
  /// is 1: then it is not the scale's fault.
  bool overflowed();

  Json state() const;
  void restore(const Json& state);

 private:
  bool is_on_;
  double value_;
  std::uint64_t good_steps_ = 0;
};

}  // namespace muster
