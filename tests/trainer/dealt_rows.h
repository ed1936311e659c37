#pragma once
// Scored rows, dealt to ranks in ways that must not matter.

#include <cstdint>
#include <vector>

#include "core/random.h"

namespace muster::testing {

struct DealtRows {
  std::vector<float> scores;
  std::vector<std::uint8_t> positive;
  std::vector<std::uint64_t> rows;
};

enum class Deal { kInTurn, kInRuns, kAllToLast };
constexpr Deal kDeals[] = {Deal::kInTurn, Deal::kInRuns, Deal::kAllToLast};

inline std::size_t owner_of(std::size_t row, std::size_t rows, Deal deal, std::size_t world) {
  if (deal == Deal::kInTurn) return row % world;
  return deal == Deal::kInRuns ? row * world / rows : world - 1;
}

inline DealtRows dealt(const DealtRows& all, Deal deal, int rank, int world) {
  DealtRows mine;
  for (std::size_t i = 0; i < all.scores.size(); ++i) {
    if (owner_of(i, all.scores.size(), deal, static_cast<std::size_t>(world)) !=
        static_cast<std::size_t>(rank))
      continue;
    mine.scores.push_back(all.scores[i]);
    mine.positive.push_back(all.positive[i]);
    mine.rows.push_back(i);
  }
  return mine;
}

/// Scores in [0, 1) with at most `distinct` values, one in `rarity` positive on average and the more often
/// the higher the score.
inline DealtRows random_rows(RandomStream& stream, std::uint64_t count, std::uint64_t distinct,
                             std::uint64_t rarity) {
  DealtRows all;
  for (std::uint64_t i = 0; i < count; ++i) {
    const double score = static_cast<double>(stream.below(distinct)) / static_cast<double>(distinct);
    all.scores.push_back(static_cast<float>(score));
    all.positive.push_back(stream.uniform() * static_cast<double>(rarity) < 0.5 + score ? 1 : 0);
    all.rows.push_back(i);
  }
  return all;
}

}  // namespace muster::testing
