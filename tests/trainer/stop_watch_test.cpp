#include "trainer/runlog/stop_watch.h"

#include <gtest/gtest.h>

#include "core/faulty_file_system.h"

namespace muster {
namespace {

using std::chrono::seconds;
const StopWatch::Clock::time_point kStart{seconds(1'000'000)};

TEST(StopWatch, ASignalCountsOnEveryRank) {
  FaultyFileSystem files;
  StopRequests requests;
  StopWatch watch(&requests, std::nullopt, "/run", files);
  EXPECT_EQ(watch.now(1), StopReason::kNone);
  EXPECT_EQ(watch.told(), StopReason::kNone);
  requests.stop = true;
  EXPECT_EQ(watch.now(1), StopReason::kSignal);
  EXPECT_EQ(watch.told(), StopReason::kSignal);
}

TEST(StopWatch, TheEndOfTheJobIsMetWithTimeForAStepAndACheckpoint) {
  FaultyFileSystem files;
  StopWatch watch(nullptr, kStart + seconds(100), "/run", files);
  EXPECT_EQ(watch.now(20, kStart), StopReason::kNone);
  EXPECT_EQ(watch.now(20, kStart + seconds(49)), StopReason::kNone);
  EXPECT_EQ(watch.now(20, kStart + seconds(50)), StopReason::kWallTime) << "10 s, and twice the 20 s";
  EXPECT_EQ(watch.now(0, kStart + seconds(89)), StopReason::kNone);
}

TEST(StopWatch, TheEarlierEndCounts) {
  const auto end = [](double wall_seconds, const std::string& scheduler_end) {
    return end_of_job(kStart, 5'000'000'000, wall_seconds, scheduler_end);  // beyond 32 bits: after 2038
  };
  EXPECT_FALSE(end(0, ""));
  EXPECT_FALSE(end(0, "soon"));
  EXPECT_EQ(end(50, ""), kStart + seconds(50));
  EXPECT_EQ(end(0, "5000000030"), kStart + seconds(30));
  EXPECT_EQ(end(50, "5000000030"), kStart + seconds(30));
  EXPECT_EQ(end(20, "5000000030"), kStart + seconds(20));
}

TEST(StopWatch, AStopFileIsLookedForOnceASecondAndRemovedWhenAnswered) {
  FaultyFileSystem files;
  files.make_directories("/run");
  StopWatch watch(nullptr, std::nullopt, "/run", files);
  EXPECT_EQ(watch.now(1, kStart), StopReason::kNone);
  files.create("/run/STOP");
  EXPECT_EQ(watch.now(1, kStart + std::chrono::milliseconds(900)), StopReason::kNone);
  EXPECT_EQ(watch.now(1, kStart + seconds(1)), StopReason::kStopFile);
  watch.answered(silent_log());
  EXPECT_FALSE(files.exists("/run/STOP"));
  EXPECT_EQ(watch.now(1, kStart + seconds(1)), StopReason::kStopFile) << "until the end";
}

}  // namespace
}  // namespace muster
