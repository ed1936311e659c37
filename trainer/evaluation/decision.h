#pragma once
// How a model's scores become probabilities and classes: what was fitted to a split beside the weights, and
// is kept with them.

#include <cstdint>
#include <string>

#include "core/json.h"
#include "trainer/config/config.h"
#include "trainer/evaluation/threshold.h"

namespace muster {

/// Kept in a checkpoint's state as "decision".
struct Decision {
  double threshold = 0.5;   ///< probabilities from here up count as positive (binary)
  std::string chosen_by;    ///< "f1", "cost" or "recall"; "": it is evaluate.threshold
  double temperature = 1;   ///< scores are divided by it before they become probabilities; above 0
  bool calibrated = false;  ///< whether evaluate.calibrate asked for it
  std::string split;        ///< what it was fitted to; "" where nothing was
  std::uint64_t step = 0;   ///< of the weights that it was fitted to
  std::string remark;       ///< why a threshold or a temperature could not be fitted

  Json to_json() const;
  /// Error{kStorage} at `where` for what to_json() does not give.
  static Decision from_json(const Json& json, const std::string& where);
};

/// What evaluate.choose_threshold and evaluate.calibrate ask for.
struct DecisionSettings {
  ThresholdSettings threshold;
  bool calibrate = false;
  bool any() const { return calibrate || threshold.rule != ThresholdRule::kNone; }
};

DecisionSettings decision_settings(const Config& config);

/// Error{kConfig} for a threshold or temperature to be fitted to more than one target.
void refuse_several_targets(const DecisionSettings& settings, std::size_t targets);

/// The one in a checkpoint's state, or what the config alone says, for a checkpoint without one.
Decision decision_of(const Json& state, const Config& config, const std::string& where);

/// For people: "threshold 0.31 by f1, temperature 1.8, fitted to 'validation' at step 300".
std::string describe(const Decision& decision);

/// A line to warn with if it was fitted to other weights than those of this step; else "".
std::string stale_warning(const Decision& decision, std::uint64_t step);

}  // namespace muster
