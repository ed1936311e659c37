#pragma once
// How a running training is told from outside to save or to stop.

#include <atomic>

namespace muster {

/// What somebody outside asks of a running loop; set from signal handlers or other threads on any rank.
struct StopRequests {
  std::atomic<bool> stop{false};  ///< checkpoint and stop at the next step
  std::atomic<bool> save{false};  ///< checkpoint and go on
};

}  // namespace muster
