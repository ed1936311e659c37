// Counts against a plain search over TensorFlow's bucket limits, on values at, beside and far from the
// limits.
#include "trainer/runlog/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <map>
#include <random>

namespace muster {
namespace {

constexpr double kMost = std::numeric_limits<double>::max();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// As in TensorFlow's core/lib/histogram/histogram.cc.
std::vector<double> tensorflow_limits() {
  std::vector<double> limits{0, kMost, -kMost};
  double limit = 1e-12;
  while (limit < 1e20) {
    limits.push_back(limit);
    limits.push_back(-limit);
    limit *= 1.1;
  }
  std::sort(limits.begin(), limits.end());
  return limits;
}

/// {upper limit: count} of the buckets that are not empty.
std::map<double, double> filled(const Histogram& histogram) {
  std::map<double, double> buckets;
  for (std::size_t i = 0; i < histogram.counts.size(); ++i) {
    if (histogram.counts[i] > 0) buckets[histogram.limits[i]] = histogram.counts[i];
  }
  return buckets;
}

std::map<double, double> expected(const std::vector<float>& values, const std::vector<double>& limits) {
  std::map<double, double> buckets;
  for (const float value : values) {
    if (std::isfinite(value))
      ++buckets[*std::find_if(limits.begin(), limits.end(), [&](double limit) { return limit > value; })];
  }
  return buckets;
}

TEST(Histogram, KnowsItsMoments) {
  const std::vector<float> values{1, -2, 4, 0.5};
  const Histogram histogram = make_histogram(values);
  EXPECT_EQ(histogram.count, 4U);
  EXPECT_EQ(histogram.min, -2);
  EXPECT_EQ(histogram.max, 4);
  EXPECT_EQ(histogram.sum, 3.5);
  EXPECT_EQ(histogram.sum_squares, 1 + 4 + 16 + 0.25);
}

TEST(Histogram, LeavesOutWhatIsNotFinite) {
  const std::vector<float> values{kNan, 3, kInfinity, -kInfinity, -kNan, 3};
  const Histogram histogram = make_histogram(values);
  EXPECT_EQ(histogram.count, 2U);
  EXPECT_EQ(histogram.min, 3);
  EXPECT_EQ(histogram.max, 3);
  EXPECT_EQ(histogram.sum, 6);
  EXPECT_EQ(filled(histogram).size(), 1U);
}

TEST(Histogram, OfNothingHasOneEmptyBucket) {
  const std::vector<float> bad{kNan, kInfinity};
  for (const Histogram& histogram : {make_histogram({}), make_histogram(bad)}) {
    EXPECT_EQ(histogram.count, 0U);
    EXPECT_EQ(histogram.min, 0);
    EXPECT_EQ(histogram.max, 0);
    EXPECT_EQ(histogram.limits, std::vector<double>{kMost});
    EXPECT_EQ(histogram.counts, std::vector<double>{0});
  }
}

TEST(Histogram, LeavesOutEmptyBucketsBesideEmptyOnes) {
  const std::vector<float> values{1.0F, 1.0F, -1.0F};
  const Histogram histogram = make_histogram(values);
  EXPECT_EQ(histogram.counts, (std::vector<double>{0, 1, 0, 2, 0}));
  for (const std::size_t bucket : {1U, 3U}) {  // the empty one before says where the bucket begins
    const double value = bucket == 1 ? -1 : 1;
    EXPECT_LE(histogram.limits[bucket - 1], value);
    EXPECT_GT(histogram.limits[bucket], value);
    EXPECT_NEAR(std::max(histogram.limits[bucket] / histogram.limits[bucket - 1],
                         histogram.limits[bucket - 1] / histogram.limits[bucket]),
                1.1, 1e-12);
  }
  EXPECT_EQ(histogram.limits.back(), kMost);
}

TEST(Histogram, PutsValuesAtTheLimitsWhereAPlainSearchDoes) {
  const std::vector<double> limits = tensorflow_limits();
  std::vector<float> values{0.0F,
                            -0.0F,
                            std::numeric_limits<float>::denorm_min(),
                            -std::numeric_limits<float>::denorm_min(),
                            std::numeric_limits<float>::max(),
                            std::numeric_limits<float>::lowest()};
  for (const double limit : limits) {
    const auto nearest = static_cast<float>(limit);
    if (!std::isfinite(nearest)) continue;
    values.insert(values.end(),
                  {nearest, std::nextafter(nearest, kInfinity), std::nextafter(nearest, -kInfinity)});
  }
  // One at a time, so that no two mistakes can make up for each other.
  for (const float value : values) {
    const std::vector<float> one{value};
    ASSERT_EQ(filled(make_histogram(one)), expected(one, limits)) << value;
  }
  EXPECT_EQ(filled(make_histogram(values)), expected(values, limits));
}

TEST(Histogram, CountsRandomValuesAsAPlainSearchDoes) {
  const std::vector<double> limits = tensorflow_limits();
  std::mt19937 random(17);
  std::map<std::string, int> hits{
      {"below the least limit", 0}, {"beyond the last", 0}, {"negative", 0}, {"not finite", 0}};
  std::vector<float> values;
  for (int i = 0; i < 20000; ++i) {
    const std::uint32_t bits = random();  // every sign and exponent
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    values.push_back(value);
    hits["not finite"] += !std::isfinite(value);
    hits["below the least limit"] += std::abs(value) < 1e-12F;
    hits["beyond the last"] += std::isfinite(value) && std::abs(value) > 1e20F;
    hits["negative"] += value < 0;
  }
  const Histogram histogram = make_histogram(values);
  EXPECT_EQ(filled(histogram), expected(values, limits));
  double counted = 0;
  for (const double count : histogram.counts) counted += count;
  EXPECT_EQ(counted, static_cast<double>(histogram.count));
  EXPECT_TRUE(std::is_sorted(histogram.limits.begin(), histogram.limits.end()));
  for (const auto& [edge, count] : hits) {
    std::printf("%s: %d\n", edge.c_str(), count);
    EXPECT_GT(count, 0) << edge;
  }
}

}  // namespace
}  // namespace muster
