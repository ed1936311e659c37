#pragma once
// Intervals beside ranking metrics: how much they would move with other rows of the same kind.

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "core/json.h"
#include "trainer/comm/communicator.h"

namespace muster {

struct Interval {
  double low = 0;  ///< NaN where no resample defines the metric
  double high = 0;
};

struct RankingIntervals {
  std::uint64_t resamples = 0;  ///< of these, the ones that have positives and negatives count
  Interval auc;
  Interval average_precision;
};

/// Rows that a bootstrap cannot go beyond.
constexpr std::uint64_t kMostBootstrapRows = (std::uint64_t{1} << 31) - 1;

/// How many resamples are drawn where nobody asks for a number: 1000, and fewer, though not below 100, where
/// the rows are so many that more than 4·10^9 weights would be drawn; none beyond kMostBootstrapRows.
std::uint64_t default_resamples(std::uint64_t rows);

/// How often a row stands in a resample: Poisson with mean 1, from 0 to 12, a function of its arguments only.
std::uint32_t bootstrap_weight(std::uint64_t seed, std::uint64_t resample, std::uint64_t row);

/// Collective. 95 % percentile intervals (from 2.5 to 97.5 %, linear between order statistics) of AUC and
/// average precision over `resamples` bootstrap resamples of all ranks' rows. Each row stands in a resample
/// Poisson(1) times instead of all rows by one multinomial draw: for many rows the same, and it needs no
/// common draw (Hanley, MacGibbon 2006; Chamandy et al. 2012). `rows`: each score's number in the split,
/// which keys its weights, so that the intervals are the same for any number of ranks. Counts are integers,
/// precisions in units of 2^-32. O(rows × resamples) time, O(rows) memory. At most
/// kMostBootstrapRows.
RankingIntervals bootstrap_ranking(Communicator& comm, std::span<const float> scores,
                                   std::span<const std::uint8_t> positive,
                                   std::span<const std::uint64_t> rows, std::uint64_t resamples,
                                   std::uint64_t seed);

/// "bootstrap" (the resamples), "auc_low", "auc_high", "average_precision_low", "average_precision_high".
Json interval_metrics(const RankingIntervals& intervals);

}  // namespace muster
