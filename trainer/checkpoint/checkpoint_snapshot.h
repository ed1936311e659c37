#pragma once
// This rank's share of model and optimizer state, copied so that training can go on while it is written.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "trainer/checkpoint/checkpoint_part.h"
#include "trainer/checkpoint/checkpoint_shards.h"
#include "trainer/checkpoint/module_tensors.h"

namespace muster {

/// Shares the memory of the tensors it is made from. One thread.
class CheckpointSnapshot {
 public:
  CheckpointSnapshot(NamedTensors model, NamedTensors optimizer, int rank, int world);
  ~CheckpointSnapshot();
  CheckpointSnapshot(CheckpointSnapshot&&) noexcept;

  /// The tensors that this rank writes, as they are now. `used`, an earlier one or empty, gives its memory: a
  /// copy into known pages is several times as fast.
  CheckpointPart take(CheckpointPart used) const;
  /// Of model and optimizer, all ranks' shares.
  std::uint64_t bytes() const;
  std::string model_index() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster
