#pragma once
// All ranks' scores in one order, cut into runs: what exact ranking metrics, thresholds and their intervals
// are counted from.

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/comm/communicator.h"

namespace muster {

/// All rows with one score.
struct ScoreGroup {
  std::uint32_t key = 0;  ///< orders like the score
  std::uint64_t positives = 0;
  std::uint64_t negatives = 0;
};

/// One row with its number in the split.
struct ScoreRow {
  std::uint32_t key = 0;
  std::uint32_t positive = 0;  ///< 0 or 1
  std::uint64_t row = 0;
};

/// Floats that are not NaN as integers of the same order, neighbours as neighbours; -0 and +0 are one.
std::uint32_t ordered_key(float score);
/// The float of that key.
float score_of(std::uint32_t key);

/// Collective. This rank's run of all ranks' distinct scores, ascending: rank r's lie below rank r + 1's. May
/// be empty. Two all-to-alls; O(rows of a rank) memory if the scores are not all equal.
std::vector<ScoreGroup> sorted_groups(Communicator& comm, std::span<const float> scores,
                                      std::span<const std::uint8_t> positive);

/// Collective. The same with every row by itself; rows with one score are on one rank, in no order of
/// their own.
std::vector<ScoreRow> sorted_rows(Communicator& comm, std::span<const float> scores,
                                  std::span<const std::uint8_t> positive,
                                  std::span<const std::uint64_t> rows);

}  // namespace muster
