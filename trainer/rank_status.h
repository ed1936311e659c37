#pragma once
// What a rank is doing, for threads that tell it to others.

#include <atomic>
#include <cstdint>

namespace muster {

/// Lock-free. Written by the training's thread, read by any.
struct RankStatus {
  std::atomic<std::uint64_t> steps_done{0};
  std::atomic<const char*> phase{"start"};      ///< a literal: "data", "compute", "evaluate", …
  std::atomic<bool> between_steps{true};        ///< in what can take much longer than a step: start, rollback
  std::atomic<double> slowest_step_seconds{0};  ///< 0: no step was measured yet
};

}  // namespace muster
