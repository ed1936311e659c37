#pragma once
// What a rank is doing, for threads that tell it to others.

#include <atomic>
#include <cstdint>

namespace muster {

enum class RankPhase : std::uint8_t {
  kStart,
  kData,
  kCompute,
  kCommunicate,
  kUpdate,
  kBetweenSteps,
  kEvaluate,
  kCheckpoint,
  kRollBack
};
/// "data", "roll back", …
const char* to_text(RankPhase phase);

/// Lock-free. Written by the training's thread, read by any.
struct RankStatus {
  std::atomic<std::uint64_t> steps_done{0};
  std::atomic<RankPhase> phase{RankPhase::kStart};
  std::atomic<double> slowest_step_seconds{0};  ///< 0: no step was measured yet
};

/// Seconds that a collective may wait where nobody says: 20 times the slowest step, 60 at least; 900 before a
/// step was measured, and in phases that have nothing to do with a step's time.
double default_deadline(RankPhase phase, double slowest_step_seconds);

}  // namespace muster
