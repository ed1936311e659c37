#include "trainer/comm/rank_status.h"

#include <algorithm>

namespace muster {
namespace {

constexpr double kLeast = 60;
constexpr double kLong = 900;  ///< passes over the data, a checkpoint of gigabytes
constexpr double kTimesSlowestStep = 20;

}  // namespace

const char* to_text(RankPhase phase) {
  switch (phase) {
    case RankPhase::kStart:
      return "start";
    case RankPhase::kData:
      return "data";
    case RankPhase::kCompute:
      return "compute";
    case RankPhase::kCommunicate:
      return "communicate";
    case RankPhase::kUpdate:
      return "update";
    case RankPhase::kBetweenSteps:
      return "between steps";
    case RankPhase::kEvaluate:
      return "evaluate";
    case RankPhase::kCheckpoint:
      return "checkpoint";
    case RankPhase::kRollBack:
      return "roll back";
  }
  return "";
}

double default_deadline(RankPhase phase, double slowest_step_seconds) {
  const bool in_steps = phase > RankPhase::kStart && phase <= RankPhase::kBetweenSteps;
  if (!in_steps || slowest_step_seconds <= 0) return kLong;
  return std::max(kLeast, kTimesSlowestStep * slowest_step_seconds);
}

}  // namespace muster
