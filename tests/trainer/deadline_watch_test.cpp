// The deadline of collectives: told once, named, and only for those that wait too long.
#include "trainer/deadline_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

namespace muster {
namespace {

using std::chrono::milliseconds;

class DeadlineWatchTest : public ::testing::Test {
 protected:
  void watch(milliseconds deadline) {
    watch_ = std::make_unique<DeadlineWatch>(
        3, deadline, [this] { ++ticks_; },
        [this](const Overdue& overdue) {
          const std::lock_guard lock(mutex_);
          overdue_.push_back(overdue.line);
        });
  }
  std::vector<std::string> overdue() {
    const std::lock_guard lock(mutex_);
    return overdue_;
  }
  bool wait_for_overdue(milliseconds at_most) {
    const auto until = std::chrono::steady_clock::now() + at_most;
    while (overdue().empty() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(milliseconds(1));
    return !overdue().empty();
  }

  std::atomic<int> ticks_{0};
  std::mutex mutex_;
  std::vector<std::string> overdue_;
  std::unique_ptr<DeadlineWatch> watch_;  // its thread ends before what it touches
};

TEST_F(DeadlineWatchTest, TellsOnceOfTheOldestThatWaitsTooLong) {
  watch(milliseconds(50));
  watch_->begin(7, "gradients bucket 1");
  watch_->begin(8, "verdict");
  ASSERT_TRUE(wait_for_overdue(milliseconds(20'000)));
  std::this_thread::sleep_for(milliseconds(150));
  ASSERT_EQ(overdue().size(), 1U);
  EXPECT_NE(overdue()[0].find("rank 3 on "), std::string::npos) << overdue()[0];
  EXPECT_NE(overdue()[0].find("collective 'gradients bucket 1' (#7) has waited"), std::string::npos)
      << overdue()[0];
  EXPECT_GT(ticks_, 0);
}

TEST_F(DeadlineWatchTest, WhatEndsInTimeIsNotTold) {
  watch(milliseconds(400));
  for (std::uint64_t i = 0; i < 200; ++i) {
    watch_->begin(i, "step");
    watch_->end(i);
  }
  std::this_thread::sleep_for(milliseconds(1'200));  // long enough for any that had stayed
  EXPECT_TRUE(overdue().empty());
}

TEST_F(DeadlineWatchTest, ManyThreadsBeginAndEnd) {
  watch(milliseconds(20'000));
  std::vector<std::jthread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (std::uint64_t i = 0; i < 5000; ++i) {
        watch_->begin(i * 4 + t, "step");
        watch_->end(i * 4 + t);
      }
    });
  }
  threads.clear();
  EXPECT_TRUE(overdue().empty());
}

TEST_F(DeadlineWatchTest, EndsAtOnceWhileSomethingWaits) {
  watch(milliseconds(1'000'000));
  watch_->begin(1, "barrier");
  const auto began = std::chrono::steady_clock::now();
  watch_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(10));
  EXPECT_TRUE(overdue_.empty());
}

}  // namespace
}  // namespace muster
