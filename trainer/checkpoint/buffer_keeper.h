#pragma once
// A module's buffers as they were before a step, which a forward pass may change: running statistics,
// counters.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "trainer/checkpoint/module_tensors.h"

namespace muster {

/// One thread. A buffer that nothing writes to is copied once.
class BufferKeeper {
 public:
  /// `module` outlives this.
  explicit BufferKeeper(torch::nn::Module& module);
  ~BufferKeeper();
  BufferKeeper(const BufferKeeper&) = delete;
  BufferKeeper& operator=(const BufferKeeper&) = delete;

  void save();
  /// As they were at the last save(): for a step that is left out.
  void restore();

 private:
  struct Kept;
  std::vector<Kept> kept_;
};

}  // namespace muster
