#pragma once
// The threshold of a binary classifier, chosen by a rule on the rows of a split.

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "trainer/comm/communicator.h"
#include "trainer/config/config.h"

namespace muster {

enum class ThresholdRule {
  kNone,
  kF1,     ///< the greatest F1
  kCost,   ///< the least false positives × their cost + false negatives × theirs
  kRecall  ///< the greatest threshold whose recall is at least `least_recall`
};

struct ThresholdSettings {
  ThresholdRule rule = ThresholdRule::kNone;
  double cost_false_positive = 1;  ///< above 0
  double cost_false_negative = 1;  ///< above 0
  double least_recall = 0.9;       ///< in (0, 1]
};

/// "f1", "cost", "recall"; "" for kNone.
std::string rule_name(ThresholdRule rule);

/// From evaluate.choose_threshold and the keys beside it.
ThresholdSettings threshold_settings(const Config& config);

/// Collective. Scores from the threshold up count as positive. One of the rows' scores, or, where no positive
/// is what costs least, the next float above them all; of equally good ones the greatest. Exact: integer
/// counts over all distinct scores of all ranks' rows, the same for any number of ranks and any deal of the
/// rows. Nothing where the rows have one class only, or the rule is kNone. `scores` are not NaN.
std::optional<float> choose_threshold(Communicator& comm, std::span<const float> scores,
                                      std::span<const std::uint8_t> positive,
                                      const ThresholdSettings& settings);

}  // namespace muster
