#pragma once
// What to do with steps that would spoil the weights: a loss or gradient that is not finite, or far above
// what it was.

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "core/json.h"
#include "trainer/config/config.h"

namespace muster {

enum class BadStepPolicy { kStop, kSkip, kRollBack };

struct BadStepRule {
  BadStepPolicy policy = BadStepPolicy::kStop;
  std::uint64_t most = 10;  ///< bad steps in a run before it ends all the same
  double spike_factor = 0;  ///< a loss above this times its mean is bad; 0: never
};
BadStepRule bad_step_rule(const Config& config);

/// The same on all ranks, which give it the same numbers. Part of a checkpoint's state, so that a resumed run
/// judges as the undisturbed one. One thread.
class BadSteps {
 public:
  explicit BadSteps(BadStepRule rule) : rule_(rule) {}
  /// State of an earlier start; null for none.
  void restore(const Json& state);
  Json state() const;
  /// After a restore: what was left out and counted since then, by an earlier state().
  void learn_again(const Json& state);

  const BadStepRule& rule() const { return rule_; }
  /// Why a step with this mean loss is bad; nothing if it is not. The mean that it is held against is an
  /// exponential one over about 100 good steps, from the 50th on.
  std::optional<std::string> judge(double loss) const;
  /// A step that was good.
  void good(double loss);
  /// A bad one that was not applied; false if it is one too many.
  bool skip();
  /// A bad one that the run goes back for: at the next try its update is left out. False if it is one too
  /// many.
  bool roll_back(std::uint64_t step);
  /// Whether this step's update is to be left out.
  bool left_out(std::uint64_t step) const { return left_out_.count(step) > 0; }
  std::uint64_t count() const { return count_; }

 private:
  BadStepRule rule_;
  std::uint64_t count_ = 0;
  std::set<std::uint64_t> left_out_;
  double mean_ = 0;
  std::uint64_t good_steps_ = 0;
};

}  // namespace muster
