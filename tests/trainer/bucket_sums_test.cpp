// Gradients as plain numbers: ranks as threads that share memory, parts that come in any order. Also under
// the thread sanitizer.
#include "trainer/gradients/bucket_sums.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <mutex>
#include <numeric>
#include <thread>

#include "core/error.h"
#include "core/random.h"
#include "tests/trainer/recording_communicator.h"
#include "trainer/comm/local_communicator.h"
#include "trainer/comm/shared_sum.h"

namespace muster {
namespace {

/// What the ranks' buffers of one number share.
struct SharedBuffer {
  SharedBuffer(std::size_t ranks, std::size_t count)
      : signs(ranks), values(ranks, std::vector<float>(count)) {}
  std::vector<SumSigns> signs;
  std::vector<std::vector<float>> values;
};

/// Where threads find each other's buffers.
class Exchange {
 public:
  explicit Exchange(std::size_t ranks) : ranks_(ranks) {}
  std::shared_ptr<SharedBuffer> find(std::size_t number, std::size_t count) {
    const std::lock_guard lock(mutex_);
    if (buffers_.size() <= number) buffers_.resize(number + 1);
    if (!buffers_[number]) buffers_[number] = std::make_shared<SharedBuffer>(ranks_, count);
    return buffers_[number];
  }

 private:
  std::size_t ranks_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<SharedBuffer>> buffers_;
};

class ThreadSum : public SumBuffer {
 public:
  ThreadSum(std::shared_ptr<SharedBuffer> shared, std::size_t rank)
      : shared_(std::move(shared)), rank_(rank), sum_(parts(*shared_), rank) {}
  std::span<float> values() override { return shared_->values[rank_]; }
  std::unique_ptr<PendingReduce> start(std::string_view) override {
    sum_.start();
    return std::make_unique<Pending>(sum_);
  }

 private:
  struct Pending : PendingReduce {
    explicit Pending(SharedSum& sum) : sum_(sum) {}
    void wait() override {
      while (sum_.advance() != SharedSum::Progress::kDone) std::this_thread::yield();
    }
    SharedSum& sum_;
  };
  static std::vector<SharedSum::Part> parts(SharedBuffer& shared) {
    std::vector<SharedSum::Part> all;
    for (std::size_t rank = 0; rank < shared.values.size(); ++rank)
      all.push_back({&shared.signs[rank], shared.values[rank]});
    return all;
  }
  std::shared_ptr<SharedBuffer> shared_;
  std::size_t rank_;
  SharedSum sum_;
};

/// One rank's communicator of threads that share memory.
class ThreadCommunicator : public testing::RecordingCommunicator {
 public:
  ThreadCommunicator(Exchange& exchange, std::size_t rank) : exchange_(exchange), rank_(rank) {}
  std::unique_ptr<SumBuffer> make_sum_buffer(std::string_view, std::size_t count, SumPrecision) override {
    return std::make_unique<ThreadSum>(exchange_.find(made_++, count), rank_);
  }

 private:
  Exchange& exchange_;
  std::size_t rank_;
  std::size_t made_ = 0;
};

struct Hits {
  std::atomic<int> steps = 0, without_rows = 0, unused_parts = 0, half_written = 0, buckets = 0;
};

float term(std::uint64_t step, std::size_t rank, std::uint32_t part, std::size_t i) {
  return static_cast<float>((step * 31 + rank * 7919 + part * 104'729 + i * 13) % 1009) / 7.0F;
}

/// What a rank does in a step: which parts it has, in which order they come.
struct StepPlan {
  bool has_rows = true;
  std::vector<bool> used;
  std::vector<std::uint32_t> order;
  StepPlan(std::uint64_t seed, std::uint64_t step, std::size_t rank, std::size_t parts) : used(parts) {
    RandomStream random(random_key(seed, Purpose::kGenerate, {step, rank}));
    has_rows = random.below(5) != 0;
    for (std::uint32_t part = 0; part < parts; ++part) {
      used[part] = has_rows && random.below(8) != 0;
      if (used[part]) order.push_back(part);
    }
    shuffle(std::span(order), random());
  }
};

struct Case {
  explicit Case(std::uint64_t seed_of_case) : seed(seed_of_case) {
    RandomStream random(seed);
    world = 2 + random.below(7);
    floats.resize(1 + random.below(12));
    for (std::size_t& count : floats) count = random.below(3) == 0 ? random.below(4) : random.below(3000);
    std::vector<std::uint64_t> bytes;
    for (const std::size_t count : floats) bytes.push_back(count * sizeof(float));
    auto order = reverse_order(bytes.size());
    shuffle(std::span(order), random());
    plan = plan_buckets(bytes, order, {1 + random.below(8000), 1 + random.below(20'000)});
  }
  std::uint64_t seed;
  std::size_t world = 0;
  std::vector<std::size_t> floats;
  BucketPlan plan;
};

void run_rank(const Case& one, Exchange& exchange, std::size_t rank, std::uint64_t steps, Hits& hits) {
  ThreadCommunicator comm(exchange, rank);
  BucketSums sums(comm, one.plan, one.floats);
  for (std::uint64_t step = 0; step < steps; ++step) {
    const StepPlan mine(one.seed, step, rank, one.floats.size());
    hits.steps += 1;
    hits.without_rows += mine.has_rows ? 0 : 1;
    sums.begin_step();
    for (std::size_t n = 0; n < mine.order.size(); ++n) {
      const std::uint32_t part = mine.order[n];
      const std::span<float> values = sums.part(part);
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = term(step, rank, part, i);
      sums.written(part);
      // One in ten is not finished by the last backward pass: an earlier micro-batch alone used it.
      if ((step + part + rank) % 10 == 0) {
        hits.half_written += 1;
      } else {
        sums.complete(part);
      }
    }
    sums.finish();
    for (std::uint32_t part = 0; part < one.floats.size(); ++part) {
      hits.unused_parts += mine.used[part] ? 0 : 1;
      std::vector<bool> gave;
      for (std::size_t other = 0; other < one.world; ++other)
        gave.push_back(StepPlan(one.seed, step, other, one.floats.size()).used[part]);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < one.floats[part]; ++i) {
        float expected = 0;
        for (std::size_t other = 0; other < one.world; ++other)
          expected += gave[other] ? term(step, other, part, i) : 0.0F;
        wrong += sums.part(part)[i] != expected ? 1 : 0;
      }
      EXPECT_EQ(wrong, 0U) << "seed " << one.seed << " step " << step << " rank " << rank << " part " << part;
    }
  }
}

TEST(BucketSumsTest, ManyRanksAndRandomOrdersOfReadiness) {
  Hits hits;
  for (std::uint64_t seed = 0; hits.steps < 1000; ++seed) {
    const Case one(seed);
    hits.buckets += static_cast<int>(one.plan.buckets.size());
    Exchange exchange(one.world);
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < one.world; ++rank)
      threads.emplace_back([&, rank] { run_rank(one, exchange, rank, 5, hits); });
    for (std::thread& thread : threads) thread.join();
  }
  std::cout << hits.steps << " orders, " << hits.buckets << " buckets, " << hits.without_rows
            << " without rows, " << hits.unused_parts << " unused parts, " << hits.half_written
            << " not finished by the last pass\n";
  EXPECT_GT(hits.without_rows, 0);
  EXPECT_GT(hits.unused_parts, 0);
  EXPECT_GT(hits.half_written, 0);
}

TEST(BucketSumsTest, StartsInPlanOrderAsSoonAsItCan) {
  testing::RecordingCommunicator comm;
  const std::vector<std::size_t> floats{3, 20, 1};
  BucketSums sums(comm, {{{2}, {0, 1}}, false}, floats);
  const auto names = [&] {
    std::vector<std::string> started;
    for (const auto& one : comm.started) started.push_back(one.name);
    return started;
  };
  for (int step = 0; step < 2; ++step) {
    comm.started.clear();
    sums.begin_step();
    std::ranges::fill(sums.part(0), 5.0F);
    sums.complete(0);
    EXPECT_TRUE(names().empty());
    sums.complete(1);
    EXPECT_TRUE(names().empty());  // the first bucket is not there yet
    sums.complete(2);
    EXPECT_EQ(names(), (std::vector<std::string>{"gradient bucket 1 of 2", "gradient bucket 2 of 2"}));
    EXPECT_EQ(comm.started[1].values.size(), 16U + 32U);
    EXPECT_EQ(comm.started[1].values[2], 5.0F);
    EXPECT_THROW(sums.complete(0), Error);
    sums.finish();
  }
}

TEST(BucketSumsTest, WhatIsNotWrittenCountsAsZeros) {
  testing::RecordingCommunicator comm;
  const std::vector<std::size_t> floats{2, 2};
  BucketSums sums(comm, {{{0, 1}}, false}, floats);
  std::ranges::fill(sums.part(0), 7.0F);
  std::ranges::fill(sums.part(1), 7.0F);
  sums.begin_step();
  sums.written(1);
  EXPECT_FALSE(sums.is_written(0));
  sums.finish();
  EXPECT_EQ(sums.part(0)[1], 0.0F);
  EXPECT_EQ(sums.part(1)[1], 7.0F);
}

}  // namespace
}  // namespace muster
