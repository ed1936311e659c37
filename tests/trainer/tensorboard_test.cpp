// The bytes of TensorBoard's files, and what the sink does with a run's starts. That TensorBoard's own reader
// reads them shows tests/integration/tensorboard_test.py.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/faulty_file_system.h"
#include "core/text.h"
#include "trainer/checkpoint/checkpoint_shards.h"
#include "trainer/loop/run_record.h"
#include "trainer/runlog/events.h"
#include "trainer/runlog/run_sink.h"
#include "trainer/runlog/tensorboard_file.h"

namespace muster {
namespace {

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

// The examples of protobuf.dev/programming-guides/encoding, and floating-point numbers of IEEE 754.
TEST(ProtoMessage, IsAsTheGuideToItsEncodingSays) {
  EXPECT_EQ(hex(ProtoMessage().integer(1, 150).bytes()), "089601");
  EXPECT_EQ(hex(ProtoMessage().text(2, "testing").bytes()), "120774657374696e67");
  EXPECT_EQ(hex(ProtoMessage().message(3, ProtoMessage().integer(1, 150)).bytes()), "1a03089601");
  EXPECT_EQ(hex(ProtoMessage().number(1, 1.0).bytes()), "09000000000000f03f");
  EXPECT_EQ(hex(ProtoMessage().single(2, 1.0F).bytes()), "150000803f");
  const double two[] = {1.0, -2.0};
  EXPECT_EQ(hex(ProtoMessage().numbers(6, two).bytes()), "3210000000000000f03f00000000000000c0");
  EXPECT_EQ(hex(ProtoMessage().integer(2, 0).bytes()), "1000");
  EXPECT_EQ(hex(ProtoMessage().integer(2, ~std::uint64_t{0}).bytes()), "10ffffffffffffffffff01");
  EXPECT_EQ(hex(ProtoMessage().integer(16, 1).bytes()),
            "800101");  // the first number whose key takes two bytes
  EXPECT_EQ(hex(ProtoMessage().text(1, std::string(300, 'x')).bytes()).substr(0, 6), "0aac02");
}

// Records as tensorboard.summary.writer.record_writer of TensorBoard 2.21.0 writes them.
TEST(TfRecord, IsAsTensorBoardsOwnWriterMakesIt) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(hex(tf_record("")), "000000000000000029039807d8ea82a2");
  EXPECT_EQ(hex(tf_record("muster")), "06000000000000007369d537" + hex("muster") + "0abb160a");
  EXPECT_EQ(hex(tf_record(all)), "00010000000000002fb308df" + hex(all) + "60231ad3");
}

const std::vector<ModelOptions> kModels = {{"linear", {}}};

Config config_with(const std::vector<std::string>& overrides = {}) {
  return Config::parse(
      YamlNode::parse(
          "{run: {dir: /runs, name: a}, data: {dataset: d}, train: {epochs: 3}, model: {name: linear}}",
          "c.yaml"),
      overrides, kModels);
}

class TensorBoardTest : public ::testing::Test {
 protected:
  void SetUp() override {
    files_.make_directories(kRun);
    files_.sync_directory("/");
    files_.sync_directory("/runs");
  }

  RunStart fresh_start() const {
    RunStart start;
    start.directory = kRun;
    start.run_id = "cafe";
    return start;
  }

  std::vector<std::string> names() {
    std::vector<std::string> found = files_.list(kRun);
    std::erase_if(found, [](const std::string& name) { return !name.starts_with("events.out.tfevents."); });
    return found;
  }
  /// How often the files hold this tag.
  std::size_t count(const std::string& tag) {
    std::size_t found = 0;
    for (const std::string& name : names()) {
      const std::string text = files_.read_text(kRun / name);
      for (auto at = text.find(tag); at != std::string::npos; at = text.find(tag, at + 1)) ++found;
    }
    return found;
  }

  const std::filesystem::path kRun = "/runs/a";
  FaultyFileSystem files_;
};

TEST_F(TensorBoardTest, FilesAreNamedInTheOrderOfTheStarts) {
  std::vector<std::string> made;
  for (std::uint64_t generation = 1; generation <= 3; ++generation) {  // within one second
    made.push_back(tensorboard_file_name(files_, kRun, generation));
    TensorBoardFile(files_, kRun / made.back());
  }
  EXPECT_EQ(names(), made);
  // A clock that went back, on another host.
  files_.create(kRun / "events.out.tfevents.9999999999.zebra.1.4");
  const std::string next = tensorboard_file_name(files_, kRun, 5);
  EXPECT_TRUE(next.starts_with("events.out.tfevents.10000000000.")) << next;
}

/// A start of the run, as far as sinks see it: the log of events, and the sink for TensorBoard.
class Start {
 public:
  Start(FaultyFileSystem& files, const std::filesystem::path& run, std::uint64_t generation,
        std::uint64_t step)
      : config_(config_with()),
        log_(files, run / "events.jsonl", "cafe", generation, 0),
        sink_(run_sinks().get("tensorboard").make({files, run, config_, generation, step})) {}

  void evaluated(std::uint64_t step, double auc) {
    const Json fields = {{"split", "validation"},
                         {"metrics", {{"auc", auc}, {"confusion", {{1, 2}, {3, 4}}}}}};
    sink_->event("evaluated", step, fields);
    log_.write("evaluated", step, fields);
  }

 private:
  Config config_;
  EventLog log_;
  std::unique_ptr<RunSink> sink_;
};

// A run stopped inside the evaluation of step 5. The next start makes it first and is killed; the one after
// goes on from the same checkpoint.
TEST_F(TensorBoardTest, AnEvaluationMadeAgainIsLoggedOnce) {
  Start(files_, kRun, 1, 0).evaluated(3, 0.7);
  {
    Start second(files_, kRun, 2, 5);
    second.evaluated(5, 0.8);
    second.evaluated(7, 0.85);
  }
  EXPECT_EQ(count("validation/auc"), 3U);
  Start third(files_, kRun, 3, 5);
  third.evaluated(5, 0.8);
  EXPECT_EQ(count("validation/auc"), 3U);
  third.evaluated(7, 0.85);  // the reader drops the one of step 7 before
  EXPECT_EQ(count("validation/auc"), 4U);
  EXPECT_EQ(count("validation/confusion"), 0U);  // no number
}

class Warnings {
 public:
  LogSink sink() {
    return [this](LogLevel level, std::string_view line) {
      if (level == LogLevel::kWarning) lines_.emplace_back(line);
    };
  }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::vector<std::string> lines_;
};

Json step_fields() { return {{"loss", 0.5}, {"learning_rate", 0.1}, {"gradient_norm", 2.0}}; }

TEST_F(TensorBoardTest, ADiskThatFailsEndsTheLogAndNotTheRun) {
  const NamedHistogram weights{"weights/w", make_histogram({})};
  Warnings warnings;
  RunRecord record(files_, fresh_start(), config_with({"log.histograms_every_steps=2"}), warnings.sink());
  record.event("step", 1, step_fields());
  record.sinks().progress({.step = 1});
  EXPECT_EQ(count("step/gradient_norm"), 1U);
  EXPECT_FALSE(record.sinks().wants_histograms(1));
  EXPECT_TRUE(record.sinks().wants_histograms(2));
  record.sinks().histograms(2, {&weights, 1});
  EXPECT_EQ(count("weights/w"), 1U);
  EXPECT_TRUE(warnings.lines().empty());

  files_.set_read_only(kRun / "events.out.tfevents");
  for (std::uint64_t step = 2; step <= 4; ++step) {
    record.event("step", step, step_fields());
    record.sinks().progress({.step = step});
    record.sinks().sync();
  }
  ASSERT_EQ(warnings.lines().size(), 1U);
  EXPECT_NE(warnings.lines()[0].find("log 'tensorboard' ends here, the run goes on"), std::string::npos);
  EXPECT_NE(warnings.lines()[0].find("Permission denied"), std::string::npos);
  EXPECT_NE(warnings.lines()[0].find("events.out.tfevents"), std::string::npos);
  EXPECT_FALSE(record.sinks().wants_histograms(4));  // nobody takes them
  EXPECT_EQ(read_events(files_, kRun / "events.jsonl").size(), 4U);
}

TEST_F(TensorBoardTest, AFileThatCannotBeMadeIsAWarning) {
  files_.set_read_only(kRun / "events.out.tfevents");
  Warnings warnings;
  RunRecord record(files_, fresh_start(), config_with(), warnings.sink());
  record.event("run_started", 0);
  EXPECT_EQ(warnings.lines().size(), 1U);
  EXPECT_EQ(read_events(files_, kRun / "events.jsonl").size(), 1U);
}

TEST_F(TensorBoardTest, IsLeftOutWhereTheConfigSaysSo) {
  RunRecord record(files_, fresh_start(), config_with({"log.tensorboard=false"}), silent_log());
  record.event("step", 1, step_fields());
  record.sinks().progress({.step = 1});
  EXPECT_TRUE(names().empty());
}

TEST_F(TensorBoardTest, WhatACheckpointStandsOnSurvivesACrashOfTheMachine) {
  RunRecord record(files_, fresh_start(), config_with(), silent_log());
  record.event("step", 1, step_fields());
  record.sinks().progress({.step = 1});
  CheckpointContent content;
  content.step = 1;
  content.pipeline = Json::object();
  content.contract_yaml = "version: 1\n";
  const auto draft = draft_of(record.checkpoints(), "g0001-step-00000001", 1);
  record.publish(draft, {1, Json::object()}, write_part(files_, draft, whole(content)), {2}, Json());
  record.event("step", 2, step_fields());
  record.sinks().progress({.step = 2});
  EXPECT_EQ(count("step/loss"), 2U);
  files_.restart(CrashKeeps::kSynced, 1);
  EXPECT_EQ(count("step/loss"), 1U);
}

TEST_F(TensorBoardTest, MetricsThatCannotBeWrittenCostNoCheckpoint) {
  std::vector<std::string> warnings;
  RunRecord record(files_, fresh_start(), config_with(), [&](LogLevel level, std::string_view line) {
    if (level == LogLevel::kWarning) warnings.emplace_back(line);
  });
  const auto draft = draft_of(record.checkpoints(), "g0001-step-00000001", 1);
  const FileStamps stamps = write_part(files_, draft, whole({.step = 1, .pipeline = Json::object()}));
  files_.set_read_only(record.checkpoints().parent_path() / "metrics.json");
  EXPECT_EQ(record.publish(draft, {1, Json::object()}, stamps, {2}, {{"validation", {{"loss", 1}}}}),
            "g0001-step-00000001");
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].find("checkpoint g0001-step-00000001 is committed; "), std::string::npos)
      << warnings[0];
}

}  // namespace
}  // namespace muster
