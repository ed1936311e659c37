// events.jsonl: whole lines whatever was torn, and readers that see the run's one history.
#include "trainer/runlog/events.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "core/faulty_file_system.h"
#include "core/text.h"

namespace muster {
namespace {

const std::filesystem::path kFile = "/run/events.jsonl";

class EventsTest : public ::testing::Test {
 protected:
  void SetUp() override { files_.make_directories("/run"); }

  EventLog log(std::uint64_t generation, int rank = 0) { return {files_, kFile, "cafe", generation, rank}; }
  /// "generation:step event" of what a reader sees.
  std::vector<std::string> seen() {
    std::vector<std::string> lines;
    for (const Json& event : read_events(files_, kFile)) {
      lines.push_back(fmt::format("{}:{} {}", event.at("generation").get<int>(), event.at("step").get<int>(),
                                  event.at("event").get<std::string>()));
    }
    return lines;
  }
  void append_raw(std::string_view text) { files_.open_append(kFile)->append(text); }

  FaultyFileSystem files_;
};

using Lines = std::vector<std::string>;

TEST_F(EventsTest, ALineHasTheCommonFieldsAndItsOwn) {
  log(2, 1).write("step", 7, {{"loss", 0.5}});
  const std::string text = files_.read_text(kFile);
  EXPECT_EQ(text.back(), '\n');
  Json event = Json::parse(text);
  EXPECT_TRUE(parse_iso_time(event.at("time").get<std::string>().substr(0, 19)).has_value());
  event.erase("time");
  EXPECT_EQ(event,
            Json::parse(R"({"v": 1, "run_id": "cafe", "generation": 2, "rank": 1, "step": 7, "event": "step",
                                   "loss": 0.5})"));
}

TEST_F(EventsTest, ATornLineIsClosedAndSkipped) {
  log(1).write("run_started", 0);
  append_raw(R"({"v":1,"event":"st)");
  log(2).write("resumed", 0);
  EXPECT_EQ(split(files_.read_text(kFile), '\n').size(), 4U);
  EXPECT_EQ(seen(), (Lines{"1:0 run_started", "2:0 resumed"}));
}

TEST_F(EventsTest, WhatAFullDiskDidNotTakeIsWrittenWhenThereIsRoom) {
  EventLog events(files_, kFile, "cafe", 1, 0);
  events.write("run_started", 0);
  std::uint64_t used = 0;
  for (const auto& [path, data] : files_.contents()) used += data.size();
  files_.set_capacity(used + 30);  // half a line
  for (const std::uint64_t step : {1, 2}) EXPECT_THROW(events.write("step", step), Error) << step;
  files_.set_capacity(1 << 20);
  events.write("step", 3);
  EXPECT_EQ(seen(), (Lines{"1:0 run_started", "1:1 step", "1:2 step", "1:3 step"}));
}

TEST_F(EventsTest, WhatIsNoEventIsSkipped) {
  append_raw("\n[]\n3\n\"x\"\n\xff\xfe\n{\"event\": 5, \"generation\": \"a\", \"step\": -1}\n{}\n");
  log(1).write("run_started", 0);
  const auto events = read_events(files_, kFile);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[2].at("event"), "run_started");
}

TEST_F(EventsTest, AResumeUndoesLaterStepsOfEarlierGenerations) {
  {
    EventLog first = log(1);
    first.write("run_started", 0);
    for (std::uint64_t step = 1; step <= 4; ++step) first.write("step", step);
  }
  log(2).write("resumed", 2);
  EXPECT_EQ(seen(), (Lines{"1:0 run_started", "1:1 step", "1:2 step", "2:2 resumed"}));
  {
    EventLog second = log(2);
    for (std::uint64_t step = 3; step <= 5; ++step) second.write("step", step);
  }
  log(3).write("resumed", 4);
  EXPECT_EQ(seen(), (Lines{"1:0 run_started", "1:1 step", "1:2 step", "2:2 resumed", "2:3 step", "2:4 step",
                           "3:4 resumed"}));
}

// An orphan of an earlier start does not know that it was replaced.
TEST_F(EventsTest, AnOrphansLinesAfterTheResumeAreUndoneToo) {
  log(1).write("step", 1);
  log(2).write("resumed", 1);
  log(1).write("step", 2);
  log(2).write("step", 2);
  log(1).write("evaluated", 2, {{"split", "validation"}});
  EXPECT_EQ(seen(), (Lines{"1:1 step", "2:1 resumed", "2:2 step"}));
}

TEST_F(EventsTest, OfTwoEvaluationsOfASplitAtAStepTheLaterCounts) {
  EventLog first = log(1);
  first.write("evaluated", 2, {{"split", "validation"}, {"n", 1}});
  first.write("evaluated", 2, {{"split", "test"}, {"n", 2}});
  first.write("evaluated", 1, {{"split", "validation"}, {"n", 3}});
  first.write("evaluated", 2, {{"split", "validation"}, {"n", 4}});
  first.write("step", 2);
  first.write("step", 2);
  std::vector<int> kept;
  for (const Json& event : read_events(files_, kFile)) {
    if (event.contains("n")) kept.push_back(event.at("n").get<int>());
  }
  EXPECT_EQ(kept, (std::vector<int>{2, 3, 4}));
  EXPECT_EQ(read_events(files_, kFile).size(), 5U);
}

TEST_F(EventsTest, OnlySyncedLinesSurviveACrash) {
  files_.sync_directory("/");
  EventLog first = log(1);
  files_.sync_directory("/run");
  first.write("run_started", 0);
  first.sync();
  first.write("step", 1);
  files_.restart(CrashKeeps::kSynced, 1);
  EXPECT_EQ(seen(), Lines{"1:0 run_started"});
}

TEST_F(EventsTest, AFullDiskIsAnErrorThatNamesTheFile) {
  EventLog first = log(1);
  files_.set_capacity(0);
  try {
    first.write("step", 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kStorage);
    EXPECT_EQ(error.where(), kFile.string());
  }
}

// On the machine's own files: two logs on one file, several threads each, as a fault beside the loop would
// be.
TEST(EventLog, ConcurrentWritersTearNothing) {
  std::string name = (std::filesystem::temp_directory_path() / "muster-events-XXXXXX").string();
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  const std::filesystem::path file = std::filesystem::path(name) / "events.jsonl";
  const auto files = make_posix_file_system();
  constexpr int kThreads = 4;
  constexpr int kLines = 200;
  {
    EventLog one(*files, file, "a", 1, 0);
    EventLog two(*files, file, "b", 1, 0);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        EventLog& mine = t % 2 == 0 ? one : two;
        for (int i = 0; i < kLines; ++i) {
          mine.write("step", static_cast<std::uint64_t>(i), {{"thread", t}, {"pad", std::string(300, 'x')}});
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  std::set<std::pair<int, int>> seen;
  for (const Json& event : read_events(*files, file)) {
    seen.emplace(event.at("thread").get<int>(), event.at("step").get<int>());
  }
  EXPECT_EQ(seen.size(), std::size_t{kThreads * kLines});
  EXPECT_EQ(split(files->read_text(file), '\n').size(), std::size_t{kThreads * kLines + 1});
  files->remove_all(name);
}

}  // namespace
}  // namespace muster
