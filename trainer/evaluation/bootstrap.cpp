#include "trainer/evaluation/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/random.h"
#include "trainer/comm/gather.h"
#include "trainer/evaluation/score_order.h"

namespace muster {
namespace {

/// Resamples that are swept together: their sums stay in the first-level cache.
constexpr std::size_t kLanes = 16;
constexpr std::size_t kWords = 4;  ///< of one Philox call

using Words = std::array<std::uint32_t, kLanes>;
using Sums = std::array<std::uint64_t, kLanes>;

/// Where a uniform 32-bit number has to be for a Poisson(1) number above k: 2^32 P(X <= k), rounded down.
constexpr std::array<std::uint32_t, 12> kAbove = [] {
  std::array<std::uint32_t, 12> bounds{};
  double share = 0.36787944117144233;  // 1 / e
  double below = 0;
  for (std::size_t k = 0; k < bounds.size(); ++k) {
    below += share;
    share /= static_cast<double>(k + 1);
    bounds[k] = static_cast<std::uint32_t>(below * 0x1p32);
  }
  return bounds;
}();

std::uint64_t key_of(std::uint64_t seed) { return random_key(seed, Purpose::kBootstrap, {}); }

/// A row's weights in the resamples [sweep × kLanes, …).
Words draw(std::uint64_t key, std::uint64_t row, std::uint64_t sweep) {
  Words words{};
  for (std::size_t i = 0; i < kLanes; i += kWords) {
    const auto four = philox(key, row, (sweep * kLanes + i) / kWords);
    for (std::size_t k = 0; k < kWords; ++k) words[i + k] = four[k];
  }
  Words weights{};
  for (const std::uint32_t bound : kAbove) {
    for (std::size_t i = 0; i < kLanes; ++i) weights[i] += words[i] >= bound ? 1U : 0U;
  }
  return weights;
}

/// One rank's sums of kLanes resamples.
struct Sweep {
  Sums positives{};  ///< with scores above the ones at hand, those of later ranks included
  Sums negatives{};
  Sums area{};       ///< twice the pairs in which the positive scores higher (a tie counts one)
  Sums precision{};  ///< sum of positives × precision, in units of 2^-32
};

/// All rows with one score.
void add_group(Sweep& sweep, const Sums& positives, const Sums& negatives, bool any_positive) {
  for (std::size_t i = 0; i < kLanes; ++i)
    sweep.area[i] += negatives[i] * (2 * sweep.positives[i] + positives[i]);
  for (std::size_t i = 0; i < kLanes; ++i) {
    sweep.positives[i] += positives[i];
    sweep.negatives[i] += negatives[i];
  }
  if (!any_positive) return;
  for (std::size_t i = 0; i < kLanes; ++i) {
    const auto above =
        static_cast<double>(std::max<std::uint64_t>(1, sweep.positives[i] + sweep.negatives[i]));
    const double precision = static_cast<double>(sweep.positives[i]) / above;
    sweep.precision[i] += positives[i] * static_cast<std::uint64_t>(precision * 0x1p32);
  }
}

/// `rows` ascending; from the greatest score down.
void add_rows(Sweep& sweep, std::span<const ScoreRow> rows, std::uint64_t key, std::uint64_t number) {
  std::size_t at = rows.size();
  while (at > 0) {
    Sums positives{};
    Sums negatives{};
    bool any_positive = false;
    const std::uint32_t score = rows[at - 1].key;
    for (; at > 0 && rows[at - 1].key == score; --at) {
      const Words weights = draw(key, rows[at - 1].row, number);
      const bool positive = rows[at - 1].positive != 0;
      any_positive = any_positive || positive;
      Sums& into = positive ? positives : negatives;
      for (std::size_t i = 0; i < kLanes; ++i) into[i] += weights[i];
    }
    add_group(sweep, positives, negatives, any_positive);
  }
}

struct Counts {
  Sums positives{};
  Sums negatives{};
};

Counts count_rows(std::span<const ScoreRow> rows, std::uint64_t key, std::uint64_t number) {
  Counts counts;
  for (const ScoreRow& row : rows) {
    const Words weights = draw(key, row.row, number);
    Sums& into = row.positive != 0 ? counts.positives : counts.negatives;
    for (std::size_t i = 0; i < kLanes; ++i) into[i] += weights[i];
  }
  return counts;
}

/// Collective. What lies on later ranks, which have the greater scores; of every sweep.
std::vector<Sweep> begin_sweeps(Communicator& comm, std::span<const ScoreRow> rows, std::uint64_t key,
                                std::size_t sweeps) {
  std::vector<Sweep> begun(sweeps);
  if (comm.size() == 1 || sweeps == 0) return begun;
  std::vector<Counts> mine;
  for (std::size_t sweep = 0; sweep < sweeps; ++sweep) mine.push_back(count_rows(rows, key, sweep));
  const std::vector<Counts> all = gather<Counts>(comm, "bootstrap counts", mine);
  for (std::size_t i = (static_cast<std::size_t>(comm.rank()) + 1) * sweeps; i < all.size(); ++i) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      begun[i % sweeps].positives[lane] += all[i].positives[lane];
      begun[i % sweeps].negatives[lane] += all[i].negatives[lane];
    }
  }
  return begun;
}

/// The 95 % in the middle.
Interval middle(std::vector<double> values) {
  if (values.empty()) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return {nan, nan};
  }
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
  };
  return {at(0.025), at(0.975)};
}

}  // namespace

std::uint64_t default_resamples(std::uint64_t rows) {
  if (rows > kMostBootstrapRows) return 0;
  constexpr std::uint64_t kMostWeights = 4'000'000'000;
  return std::clamp<std::uint64_t>(kMostWeights / std::max<std::uint64_t>(1, rows), 100, 1000);
}

std::uint32_t bootstrap_weight(std::uint64_t seed, std::uint64_t resample, std::uint64_t row) {
  return draw(key_of(seed), row, resample / kLanes)[resample % kLanes];
}

RankingIntervals bootstrap_ranking(Communicator& comm, std::span<const float> scores,
                                   std::span<const std::uint8_t> positive,
                                   std::span<const std::uint64_t> rows, std::uint64_t resamples,
                                   std::uint64_t seed) {
  const std::vector<ScoreRow> sorted = sorted_rows(comm, scores, positive, rows);
  const std::uint64_t key = key_of(seed);
  std::vector<Sweep> sweeps = begin_sweeps(comm, sorted, key, (resamples + kLanes - 1) / kLanes);
  for (std::size_t i = 0; i < sweeps.size(); ++i) add_rows(sweeps[i], sorted, key, i);

  const std::vector<Sweep> all = gather<Sweep>(comm, "bootstrap sums", sweeps);
  RankingIntervals result;
  std::vector<double> auc;
  std::vector<double> average_precision;
  for (std::uint64_t b = 0; b < resamples; ++b) {
    const std::size_t lane = b % kLanes;
    // Rank 0 comes last: above its lowest score lie all rows.
    const Sweep& whole = all[b / kLanes];
    const auto positives = static_cast<double>(whole.positives[lane]);
    const auto negatives = static_cast<double>(whole.negatives[lane]);
    if (positives == 0 || negatives == 0) continue;
    std::uint64_t area = 0;
    std::uint64_t precision = 0;
    for (std::size_t i = b / kLanes; i < all.size(); i += sweeps.size()) {
      area += all[i].area[lane];
      precision += all[i].precision[lane];
    }
    auc.push_back(static_cast<double>(area) / (2 * positives * negatives));
    average_precision.push_back(static_cast<double>(precision) * 0x1p-32 / positives);
  }
  result.resamples = auc.size();
  result.auc = middle(std::move(auc));
  result.average_precision = middle(std::move(average_precision));
  return result;
}

Json interval_metrics(const RankingIntervals& intervals) {
  Json metrics = Json::object();
  metrics["bootstrap"] = intervals.resamples;
  metrics["auc_low"] = json_number(intervals.auc.low);
  metrics["auc_high"] = json_number(intervals.auc.high);
  metrics["average_precision_low"] = json_number(intervals.average_precision.low);
  metrics["average_precision_high"] = json_number(intervals.average_precision.high);
  return metrics;
}

}  // namespace muster
