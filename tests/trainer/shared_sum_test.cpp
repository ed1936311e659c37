#include "trainer/comm/shared_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <thread>

#include "core/error.h"
#include "core/random.h"

namespace muster {
namespace {

/// What ranks of one process share.
struct Ranks {
  Ranks(std::size_t ranks, std::size_t count) : signs(ranks), values(ranks, std::vector<float>(count)) {}
  std::vector<SharedSum::Part> parts() {
    std::vector<SharedSum::Part> all;
    for (std::size_t rank = 0; rank < values.size(); ++rank) all.push_back({&signs[rank], values[rank]});
    return all;
  }
  std::vector<SumSigns> signs;
  std::vector<std::vector<float>> values;
};

float term(std::size_t rank, std::size_t i, std::uint64_t round) {
  return static_cast<float>((rank * 7919 + i * 104729 + round * 31) % 100'003) / 3.0F;
}

float sum_of(std::size_t ranks, std::size_t i, std::uint64_t round) {
  float sum = term(0, i, round);
  for (std::size_t rank = 1; rank < ranks; ++rank) sum += term(rank, i, round);
  return sum;
}

/// Rounds of one rank, moved by this thread and, where `helped`, by another beside it.
void sum_rounds(Ranks& ranks, std::size_t rank, std::uint64_t rounds, bool helped) {
  SharedSum sum(ranks.parts(), rank);
  std::atomic<bool> stop = false;
  std::thread helper;
  if (helped) {
    helper = std::thread([&] {
      while (!stop) {
        sum.advance();
        std::this_thread::yield();
      }
    });
  }
  RandomStream random(rank + 1);
  std::vector<float>& mine = ranks.values[rank];
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < mine.size(); ++i) mine[i] = term(rank, i, round);
    if (random.below(4) == 0) std::this_thread::sleep_for(std::chrono::microseconds(random.below(300)));
    sum.start();
    while (sum.advance() != SharedSum::Progress::kDone) std::this_thread::yield();
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < mine.size(); ++i) wrong += mine[i] != sum_of(ranks.values.size(), i, round);
    EXPECT_EQ(wrong, 0U) << "of " << mine.size() << ", rank " << rank << ", round " << round;
  }
  stop = true;
  if (helper.joinable()) helper.join();
}

TEST(SharedSumTest, SumsInRankOrderOnAnyNumberOfRanksAndValues) {
  for (const std::size_t world : {1, 2, 3, 5, 8}) {
    for (const std::size_t count : {0, 1, 15, 16, 17, 1023, 5000, 200'000}) {
      Ranks ranks(world, count);
      std::vector<std::thread> threads;
      for (std::size_t rank = 0; rank < world; ++rank)
        threads.emplace_back([&, rank] { sum_rounds(ranks, rank, 3, rank % 2 == 1); });
      for (std::thread& thread : threads) thread.join();
    }
  }
}

TEST(SharedSumTest, ManyRoundsWithRanksThatComeLate) {
  Ranks ranks(3, 500);
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < 3; ++rank)
    threads.emplace_back([&, rank] { sum_rounds(ranks, rank, 300, true); });
  for (std::thread& thread : threads) thread.join();
}

/// One thread takes the ranks' turns in random order: every order of steps that processes could have.
TEST(SharedSumTest, RandomOrdersOfSteps) {
  constexpr std::size_t kWorld = 3;
  int waited = 0, worked = 0, was_a_round_ahead = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    RandomStream random(seed);
    const std::size_t count = random.below(300'000);
    Ranks ranks(kWorld, count);
    std::vector<std::unique_ptr<SharedSum>> sums;
    for (std::size_t rank = 0; rank < kWorld; ++rank)
      sums.push_back(std::make_unique<SharedSum>(ranks.parts(), rank));
    std::vector<std::uint64_t> done(kWorld);
    std::vector<bool> running(kWorld);
    while (std::ranges::min(done) < 3) {
      const std::size_t rank = random.below(kWorld);
      if (done[rank] == 3) continue;
      if (!running[rank]) {
        for (std::size_t i = 0; i < count; ++i) ranks.values[rank][i] = term(rank, i, done[rank]);
        sums[rank]->start();
        running[rank] = true;
        was_a_round_ahead += done[rank] > std::ranges::min(done) ? 1 : 0;
        continue;
      }
      const SharedSum::Progress progress = sums[rank]->advance();
      waited += progress == SharedSum::Progress::kWaiting ? 1 : 0;
      worked += progress == SharedSum::Progress::kWorked ? 1 : 0;
      if (progress != SharedSum::Progress::kDone) continue;
      for (std::size_t i = 0; i < count; i += 1 + random.below(100))
        ASSERT_EQ(ranks.values[rank][i], sum_of(kWorld, i, done[rank]));
      ++done[rank];
      running[rank] = false;
    }
  }
  std::cout << "waited " << waited << ", in pieces " << worked << ", a round ahead " << was_a_round_ahead
            << '\n';
  EXPECT_GT(waited, 0);
  EXPECT_GT(worked, 0);
  EXPECT_GT(was_a_round_ahead, 0);
}

TEST(SharedSumTest, RefusesASecondStartAndPartsOfOtherLengths) {
  Ranks ranks(2, 4);
  SharedSum sum(ranks.parts(), 0);
  sum.start();
  EXPECT_EQ(sum.advance(), SharedSum::Progress::kWaiting);
  EXPECT_THROW(sum.start(), Error);
  ranks.values[1].resize(5);
  EXPECT_THROW(SharedSum(ranks.parts(), 0), Error);
  EXPECT_THROW(SharedSum(std::vector<SharedSum::Part>{}, 0), Error);
}

}  // namespace
}  // namespace muster
