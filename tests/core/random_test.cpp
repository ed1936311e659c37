// Philox by its authors' known answers; streams, bounds and shuffles by values that must never change.
#include "core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/random_id.h"

namespace muster {
namespace {

static_assert(std::uniform_random_bit_generator<RandomStream>);

using Words = std::array<std::uint32_t, 4>;

// The known-answer vectors published with Random123 (philox4x32-10).
TEST(Philox, GivesItsAuthorsKnownAnswers) {
  constexpr auto kOnes = ~std::uint64_t{0};
  EXPECT_EQ(philox(0, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(kOnes, kOnes, kOnes), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822U, 0x85a308d3243f6a88U, 0x0370734413198a2eU),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Never change what follows: the same seed must give the same run.
TEST(RandomKey, NeverChanges) {
  EXPECT_EQ(random_key(7, Purpose::kBlockOrder, {3}), 0x7c412a015f2e718fU);
  EXPECT_EQ(random_key(7, Purpose::kWindowOrder, {3, 4}), 0x49f7991eec8a4254U);
  EXPECT_EQ(random_key(0, Purpose::kDropout, {}), 0x3eb2ecbc903907fcU);
}

TEST(RandomKey, EveryCoordinateAndItsPlaceCount) {
  std::set<std::uint64_t> keys;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    for (const Purpose purpose : {Purpose::kBlockOrder, Purpose::kWindowOrder, Purpose::kDropout}) {
      keys.insert(random_key(seed, purpose, {}));
      for (std::uint64_t a = 0; a < 4; ++a) {
        keys.insert(random_key(seed, purpose, {a}));
        for (std::uint64_t b = 0; b < 4; ++b) keys.insert(random_key(seed, purpose, {a, b}));
      }
    }
  }
  EXPECT_EQ(keys.size(), 4U * 3U * (1 + 4 + 16));
}

TEST(RandomStream, NeverChanges) {
  RandomStream stream(1);
  EXPECT_EQ(stream(), 0xe3e80670e50a0ebcU);
  EXPECT_EQ(stream(), 0x95f222c0b615aa27U);
  EXPECT_EQ(stream(), 0xac08141bdfc5ccbeU);
  EXPECT_EQ(stream(), 0x79c07a47a7f66093U);
  RandomStream again(1);
  EXPECT_EQ(again.uniform(), 0.8902591729757107);
  EXPECT_EQ(again.uniform(), 0.5857259483801359);
}

TEST(RandomStream, ACopyGoesOnAlone) {
  RandomStream stream(5);
  stream();
  RandomStream copy = stream;
  const auto expected = stream();
  stream();
  EXPECT_EQ(copy(), expected);
}

TEST(RandomStream, BelowStaysInRangeForAwkwardBounds) {
  RandomStream stream(2);
  const std::uint64_t huge = (std::uint64_t{1} << 63) + 1;
  std::size_t above_half = 0;
  for (int i = 0; i < 2000; ++i) {
    EXPECT_EQ(stream.below(1), 0U);
    EXPECT_LT(stream.below(3), 3U);
    const std::uint64_t value = stream.below(huge);
    EXPECT_LT(value, huge);
    above_half += value >= huge / 2 ? 1U : 0U;
  }
  EXPECT_NEAR(static_cast<double>(above_half), 1000, 5 * std::sqrt(500));
}

// With the bound 3·2^62 a quarter of all words must be drawn again. Without that, of three neighbouring
// results one comes up twice as often as the others.
TEST(RandomStream, BelowIsUnbiasedWhereABiasWouldShow) {
  const std::uint64_t bound = std::uint64_t{3} << 62;
  constexpr int kDraws = 30000;
  RandomStream stream(3);
  std::array<int, 3> residues{};
  for (int i = 0; i < kDraws; ++i) residues[static_cast<std::size_t>(stream.below(bound) % 3)] += 1;
  // Unrejected, multiples of 3 would get half of all draws.
  for (const int count : residues) EXPECT_NEAR(count, kDraws / 3.0, 5 * std::sqrt(kDraws * 2.0 / 9));
}

TEST(RandomStream, DistributionsHaveTheirMoments) {
  constexpr int kDraws = 40000;
  RandomStream stream(4);
  double uniform = 0;
  double exponential = 0;
  double normal = 0;
  double normal_square = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = stream.uniform();
    EXPECT_TRUE(u >= 0 && u < 1);
    const double e = stream.exponential();
    EXPECT_TRUE(e >= 0 && std::isfinite(e));
    const double n = stream.normal();
    uniform += u;
    exponential += e;
    normal += n;
    normal_square += n * n;
  }
  const double error = 5 / std::sqrt(kDraws);
  EXPECT_NEAR(uniform / kDraws, 0.5, error / std::sqrt(12));
  EXPECT_NEAR(exponential / kDraws, 1, error);
  EXPECT_NEAR(normal / kDraws, 0, error);
  EXPECT_NEAR(normal_square / kDraws, 1, error * std::sqrt(2));
}

TEST(Shuffle, NeverChanges) {
  std::vector<int> items(10);
  std::iota(items.begin(), items.end(), 0);
  shuffle(std::span(items), 42);
  EXPECT_EQ(items, (std::vector<int>{5, 8, 1, 2, 9, 4, 3, 7, 0, 6}));
}

TEST(Shuffle, IsAPermutationOfAnySize) {
  for (std::size_t size : {0U, 1U, 2U, 3U, 100U}) {
    std::vector<std::size_t> items(size);
    std::iota(items.begin(), items.end(), 0U);
    const std::vector<std::size_t> before = items;
    shuffle(std::span(items), size);
    if (size == 100) {
      EXPECT_NE(items, before);
    }
    std::sort(items.begin(), items.end());
    EXPECT_EQ(items, before);
  }
}

TEST(Shuffle, AllOrdersOfThreeAreEquallyLikely) {
  constexpr int kShuffles = 6000;
  std::map<std::array<int, 3>, int> seen;
  for (int key = 0; key < kShuffles; ++key) {
    std::array<int, 3> items{0, 1, 2};
    shuffle(std::span<int>(items), static_cast<std::uint64_t>(key));
    seen[items] += 1;
  }
  EXPECT_EQ(seen.size(), 6U);
  for (const auto& [order, count] : seen) EXPECT_NEAR(count, 1000, 5 * std::sqrt(1000 * 5.0 / 6));
}

TEST(RandomId, IsNewEachTime) {
  std::set<std::string> ids;
  for (int i = 0; i < 100; ++i) ids.insert(random_id());
  EXPECT_EQ(ids.size(), 100U);
  EXPECT_EQ(ids.begin()->size(), 16U);
  EXPECT_EQ(ids.begin()->find_first_not_of("0123456789abcdef"), std::string::npos);
}

}  // namespace
}  // namespace muster
