#include "data_loader/contract/quantile_sketch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/random.h"

namespace muster {
namespace {

TEST(QuantileSketch, IsExactForFewDifferentValues) {
  const QuantileSketch sketch = QuantileSketch::of({3, 1, 2, 2, 9, 2, 1});
  EXPECT_TRUE(sketch.exact());
  EXPECT_EQ(sketch.count(), 7U);
  EXPECT_EQ(sketch.mode(), 2);
  EXPECT_EQ(sketch.quantile(0), 1);
  EXPECT_EQ(sketch.quantile(2.0 / 7), 1);
  EXPECT_EQ(sketch.quantile(0.5), 2);
  EXPECT_EQ(sketch.quantile(1), 9);
  EXPECT_EQ(QuantileSketch().quantile(0.5), 0);
  EXPECT_EQ(QuantileSketch::merge(sketch, QuantileSketch()).entries(), sketch.entries());
}

/// The share of the values that do not exceed `value`.
double rank_of(const std::vector<double>& sorted, double value) {
  return static_cast<double>(std::upper_bound(sorted.begin(), sorted.end(), value) - sorted.begin()) /
         static_cast<double>(sorted.size());
}

TEST(QuantileSketch, KeepsItsBoundAlongATree) {
  RandomStream random(11);
  constexpr std::uint32_t kLevels = 9;
  std::vector<double> all;
  std::vector<QuantileSketch> level;
  for (std::uint32_t leaf = 0; leaf < (1U << kLevels); ++leaf) {
    std::vector<double> values(random.below(700));
    for (double& value : values)
      value = std::exp(2 * random.normal()) + leaf;  // later leaves hold larger ones
    all.insert(all.end(), values.begin(), values.end());
    level.push_back(QuantileSketch::of(std::move(values)));
  }
  while (level.size() > 1) {
    std::vector<QuantileSketch> next;
    for (std::size_t i = 0; i < level.size(); i += 2) {
      next.push_back(QuantileSketch::merge(level[i], level[i + 1]));
      EXPECT_LE(next.back().entries().size(), QuantileSketch::kMost);
    }
    level = std::move(next);
  }
  EXPECT_FALSE(level[0].exact());
  EXPECT_EQ(level[0].count(), all.size());
  std::sort(all.begin(), all.end());
  const double bound = (kLevels + 1) / (QuantileSketch::kMost / 2.0);
  double worst = 0;
  for (int thousandth = 1; thousandth < 1000; ++thousandth) {
    const double share = thousandth / 1000.0;
    worst = std::max(worst, std::abs(rank_of(all, level[0].quantile(share)) - share));
  }
  EXPECT_LE(worst, bound);
  EXPECT_GT(worst, 0) << "nothing was thinned out";
}

TEST(QuantileSketch, RefusesEntriesThatAreNone) {
  EXPECT_NO_THROW((void)QuantileSketch::from_entries({{1, 2}, {3, 1}}, true));
  EXPECT_THROW((void)QuantileSketch::from_entries({{1, 2}, {1, 1}}, true), Error);
  EXPECT_THROW((void)QuantileSketch::from_entries({{1, 0}}, true), Error);
}

}  // namespace
}  // namespace muster
