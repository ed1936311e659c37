#include "trainer/evaluation/threshold.h"

#include <vector>

#include "core/error.h"
#include "trainer/comm/gather.h"
#include "trainer/evaluation/score_order.h"

namespace muster {
namespace {

__extension__ using Wide = unsigned __int128;

/// A threshold and what it counts as positive.
struct Candidate {
  std::uint64_t there = 0;  ///< 0: none
  std::uint64_t key = 0;
  std::uint64_t true_positives = 0;
  std::uint64_t false_positives = 0;
};

struct Counts {
  std::uint64_t positives = 0;
  std::uint64_t negatives = 0;
};

double cost(const Candidate& c, const Counts& all, const ThresholdSettings& settings) {
  return settings.cost_false_positive * static_cast<double>(c.false_positives) +
         settings.cost_false_negative * static_cast<double>(all.positives - c.true_positives);
}

bool has_recall(const Candidate& c, const Counts& all, const ThresholdSettings& settings) {
  return static_cast<double>(c.true_positives) / static_cast<double>(all.positives) >= settings.least_recall;
}

/// Whether `a` is better by the rule than `b`, or as good and greater.
bool better(const Candidate& a, const Candidate& b, const Counts& all, const ThresholdSettings& settings) {
  if (a.there == 0 || b.there == 0) return a.there > b.there;
  if (settings.rule == ThresholdRule::kF1) {
    // F1 = 2 TP / (positives + rows counted as positive), compared without a division.
    const Wide left =
        static_cast<Wide>(a.true_positives) * (all.positives + b.true_positives + b.false_positives);
    const Wide right =
        static_cast<Wide>(b.true_positives) * (all.positives + a.true_positives + a.false_positives);
    if (left != right) return left > right;
  } else if (settings.rule == ThresholdRule::kCost) {
    const double left = cost(a, all, settings);
    const double right = cost(b, all, settings);
    if (left != right) return left < right;
  } else {
    const bool left = has_recall(a, all, settings);
    const bool right = has_recall(b, all, settings);
    if (left != right) return left;
  }
  return a.key > b.key;
}

/// The best one among this rank's scores; `above`: what lies on later ranks, `last`: no rows do.
Candidate best_of(std::span<const ScoreGroup> groups, Counts above, bool last, const Counts& all,
                  const ThresholdSettings& settings) {
  Candidate best;
  if (last && !groups.empty()) best = {1, std::uint64_t{groups.back().key} + 1, 0, 0};
  for (std::size_t i = groups.size(); i-- > 0;) {
    above.positives += groups[i].positives;
    above.negatives += groups[i].negatives;
    const Candidate candidate{1, groups[i].key, above.positives, above.negatives};
    if (better(candidate, best, all, settings)) best = candidate;
  }
  return best;
}

}  // namespace

std::string rule_name(ThresholdRule rule) {
  switch (rule) {
    case ThresholdRule::kF1:
      return "f1";
    case ThresholdRule::kCost:
      return "cost";
    case ThresholdRule::kRecall:
      return "recall";
    case ThresholdRule::kNone:
      break;
  }
  return "";
}

ThresholdSettings threshold_settings(const Config& config) {
  ThresholdSettings settings;
  const std::string wanted = config.text_at("evaluate", "choose_threshold");
  for (const auto rule : {ThresholdRule::kF1, ThresholdRule::kCost, ThresholdRule::kRecall}) {
    if (rule_name(rule) == wanted) settings.rule = rule;
  }
  settings.cost_false_positive = config.number_at("evaluate", "cost_false_positive");
  settings.cost_false_negative = config.number_at("evaluate", "cost_false_negative");
  settings.least_recall = config.number_at("evaluate", "least_recall");
  return settings;
}

std::optional<float> choose_threshold(Communicator& comm, std::span<const float> scores,
                                      std::span<const std::uint8_t> positive,
                                      const ThresholdSettings& settings) {
  if (settings.rule == ThresholdRule::kNone) return std::nullopt;
  const std::vector<ScoreGroup> groups = sorted_groups(comm, scores, positive);
  Counts mine;
  for (const ScoreGroup& group : groups) {
    mine.positives += group.positives;
    mine.negatives += group.negatives;
  }
  const auto counted = gather<Counts>(comm, "threshold counts", std::span(&mine, 1));
  Counts all;
  Counts above;
  for (std::size_t rank = 0; rank < counted.size(); ++rank) {
    all.positives += counted[rank].positives;
    all.negatives += counted[rank].negatives;
    if (rank <= static_cast<std::size_t>(comm.rank())) continue;
    above.positives += counted[rank].positives;
    above.negatives += counted[rank].negatives;
  }
  if (all.positives == 0 || all.negatives == 0) return std::nullopt;
  const bool last = above.positives + above.negatives == 0;
  const Candidate ours = best_of(groups, above, last, all, settings);
  Candidate best;
  for (const Candidate& candidate : gather<Candidate>(comm, "thresholds", std::span(&ours, 1))) {
    if (better(candidate, best, all, settings)) best = candidate;
  }
  ensure(best.there != 0, "no threshold among {} rows", all.positives + all.negatives);
  return score_of(static_cast<std::uint32_t>(best.key));
}

}  // namespace muster
