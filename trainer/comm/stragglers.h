#pragma once
// Ranks that all others wait for, by what the ranks say of each step.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace muster {

/// What a rank spent in a step before it could wait for others.
struct StepSeconds {
  float data = 0;  ///< waiting for its batch
  float compute =
      0;  ///< forward and backward; on a GPU until the loss is known, before the backward pass ends
};

struct Straggler {
  int rank = 0;
  const char* phase = "";  ///< "data" or "compute": where it loses most
  double seconds = 0;      ///< it spends in that phase, a step
  double usual = 0;        ///< the median of all ranks there
};

/// One thread.
class Stragglers {
 public:
  static constexpr std::uint64_t kWindow = 20;  ///< steps that are looked at together

  /// After each step, every rank's seconds. At the end of a window: a rank that takes 1.5 times the median or
  /// more, and 10 ms a step more than it. The same one is told again only after ten windows.
  std::optional<Straggler> note(std::span<const StepSeconds> ranks);

 private:
  std::uint64_t steps_ = 0;
  std::vector<double> data_;
  std::vector<double> compute_;
  std::optional<int> told_;
  std::uint64_t told_at_ = 0;
};

}  // namespace muster
