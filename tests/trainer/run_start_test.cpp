// Where a start begins: every case of a run on disk against what is asked for now.
#include "trainer/loop/run_start.h"

#include <gtest/gtest.h>

#include "core/faulty_file_system.h"

namespace muster {
namespace {

const DataIdentity kData{"f00dfeed", "c0ffee"};
const std::vector<ModelOptions> kModels = {{"linear", {{"bias", OptionType::kBoolean, true, "", {}}}}};
using Texts = std::vector<std::string>;

Config config_with(const Texts& overrides = {}) {
  return Config::parse(
      YamlNode::parse(
          "{run: {dir: /runs, name: a}, data: {dataset: d}, train: {epochs: 3}, model: {name: linear}}",
          "c.yaml"),
      overrides, kModels);
}

class RunStartTest : public ::testing::Test {
 protected:
  void SetUp() override { files_.make_directories("/runs"); }

  /// Commits a checkpoint of run /runs/a as the trainer does; ten steps are an epoch.
  std::string commit(CheckpointStore& store, std::uint64_t step, bool finished = false) {
    return commit(store, step, finished, resolved_.values());
  }
  std::string commit(CheckpointStore& store, std::uint64_t step, bool finished, const Json& config) {
    CheckpointContent content;
    content.step = step;
    content.state = {{"config", config},           {"fingerprint", kData.fingerprint},
                     {"contract", kData.contract}, {"dataset", {{"partitions", 4}, {"rows", 600}}},
                     {"finished", finished},       {"plan", {{"steps_per_epoch", 10}}}};
    content.pipeline = Json::object();
    content.contract_yaml = "version: 1\nfields: {x: {dtype: float32}}\nsplits: {by: fraction, train: 1}\n";
    return store.commit(content, {5});
  }
  CheckpointStore claimed(const std::string& parent = "") {
    CheckpointStore store(files_, "/runs/a/checkpoints", "cafe");
    store.claim(parent);
    return store;
  }

  RunStart start(const Texts& overrides = {}, const StartOptions& options = {},
                 const DataIdentity& data = kData) {
    return decide_start(files_, config_with(overrides), data, options);
  }
  Error error_of(const Texts& overrides = {}, const StartOptions& options = {},
                 const DataIdentity& data = kData) {
    try {
      start(overrides, options, data);
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "no error";
    return {ErrorCode::kBug, "none"};
  }

  FaultyFileSystem files_;
  /// What a first start resolves.
  Config resolved_ = config_with()
                         .with("batch", "lanes", 64)
                         .with("batch", "window", 16)
                         .with("train", "threads", 2)
                         .with("schedule", "horizon", 30);
};

TEST_F(RunStartTest, WithoutARunItBeginsAnew) {
  const auto before = files_.contents();
  const RunStart begun = start();
  EXPECT_EQ(begun.directory, "/runs/a");
  EXPECT_FALSE(begun.resumed);
  EXPECT_FALSE(begun.checkpoint.has_value());
  EXPECT_EQ(begun.parent, "");
  EXPECT_EQ(begun.run_id.size(), 16U);
  EXPECT_EQ(files_.contents(), before);
}

TEST_F(RunStartTest, NeverBeginsBesideTheRunOnDisk) {
  auto store = claimed();
  commit(store, 10);
  const RunStart begun = start({}, {"never", {}});
  EXPECT_EQ(begun.directory, "/runs/a-2");
  EXPECT_FALSE(begun.resumed);
}

TEST_F(RunStartTest, AnEarlierStartWithoutACheckpointIsNoRun) {
  claimed();
  const RunStart begun = start();
  EXPECT_EQ(begun.directory, "/runs/a");
  EXPECT_FALSE(begun.resumed);
  EXPECT_NE(begun.run_id, "cafe");
}

TEST_F(RunStartTest, TheSameRunGoesOnFromItsNewestCheckpoint) {
  auto store = claimed();
  commit(store, 10);
  commit(store, 20);
  const RunStart resumed = start();
  EXPECT_TRUE(resumed.resumed);
  EXPECT_EQ(resumed.parent, "g0001-step-00000020");
  EXPECT_EQ(resumed.checkpoint->step, 20U);
  EXPECT_EQ(resumed.run_id, "cafe");
  EXPECT_TRUE(resumed.changes.empty());
  EXPECT_TRUE(resumed.rejected.empty());
}

TEST_F(RunStartTest, ADamagedCheckpointIsPassedOver) {
  auto store = claimed();
  commit(store, 10);
  commit(store, 20);
  files_.flip_bit("/runs/a/checkpoints/g0001-step-00000020/contract.yaml", 0, 0);
  files_.flip_bit("/runs/a/checkpoints/g0001-step-00000020/manifest.json", 40, 3);
  const RunStart resumed = start();
  EXPECT_EQ(resumed.checkpoint->step, 10U);
  ASSERT_EQ(resumed.rejected.size(), 1U);
  EXPECT_EQ(resumed.rejected[0].name, "g0001-step-00000020");
}

TEST_F(RunStartTest, OnlyDamagedCheckpointsAreAnErrorAndNoNewRun) {
  auto store = claimed();
  commit(store, 10);
  files_.flip_bit("/runs/a/checkpoints/g0001-step-00000010/manifest.json", 40, 3);
  const Error error = error_of();
  EXPECT_EQ(error.code(), ErrorCode::kStorage);
  EXPECT_EQ(error.where(), "/runs/a");
  EXPECT_NE(error.message().find("--resume never"), std::string::npos);
}

TEST_F(RunStartTest, AnotherRunIsRefusedWithTheDifferences) {
  auto store = claimed();
  commit(store, 10);
  const Error error = error_of({"run.seed=7", "model.bias=false"});
  EXPECT_EQ(error.code(), ErrorCode::kConfig);
  EXPECT_EQ(error.where(), "/runs/a");
  EXPECT_EQ(error.message(),
            "holds another run: model.bias was true, is false; run.seed was 1, is 7; choose another "
            "run.name, or --resume never");
  EXPECT_EQ(error_of({"run.seed=7"}, {"auto", {"run.seed"}}).code(),
            ErrorCode::kConfig);  // not to be allowed
}

TEST_F(RunStartTest, OtherDataAreAnotherRun) {
  auto store = claimed();
  commit(store, 10);
  EXPECT_NE(
      error_of({}, {}, {"beef", kData.contract}).message().find("fingerprint was \"f00dfeed\", is \"beef\""),
      std::string::npos);
  EXPECT_NE(
      error_of({}, {}, {kData.fingerprint, "tea"}).message().find("contract was \"c0ffee\", is \"tea\""),
      std::string::npos);
  DataIdentity other{"beef", "tea"};
  other.partitions = 5;
  other.rows = 700;
  other.contract_yaml =
      "version: 1\nfields: {x: {dtype: int64}, z: {dtype: int8}}\nsplits: {by: fraction, train: 1}\n";
  const std::string told = error_of({}, {}, other).message();
  for (const char* const word : {"the dataset had 4 partitions, has 5", "the dataset had 600 rows, has 700",
                                 "'x': dtype: float32", "'z': "})
    EXPECT_NE(told.find(word), std::string::npos) << told;
}

TEST_F(RunStartTest, AnotherPathNeedsToBeAllowed) {
  auto store = claimed();
  commit(store, 10);
  const Texts overrides = {"optimizer.learning_rate=0.5", "train.clip_norm=1"};
  const Error error = error_of(overrides);
  EXPECT_EQ(error.code(), ErrorCode::kConfig);
  EXPECT_EQ(error.message(),
            "the run would take another path: optimizer.learning_rate was 0.001, is 0.5; train.clip_norm was "
            "0.0, is 1.0; if that "
            "is meant: --allow optimizer.learning_rate --allow train.clip_norm");
  EXPECT_NE(error_of(overrides, {"auto", {"train.clip_norm"}}).message().find("learning_rate"),
            std::string::npos);
  const RunStart resumed = start(overrides, {"auto", {"train.clip_norm", "optimizer.learning_rate"}});
  ASSERT_EQ(resumed.changes.size(), 2U);
  EXPECT_EQ(resumed.changes[0].path, "optimizer.learning_rate");
}

TEST_F(RunStartTest, FreeKeysAreFree) {
  auto store = claimed();
  commit(store, 10);
  const RunStart resumed =
      start({"checkpoint.keep=4", "data.dataset=elsewhere", "loader.threads=3", "log.every_steps=1"});
  EXPECT_TRUE(resumed.resumed);
  EXPECT_TRUE(resumed.changes.empty());
}

TEST_F(RunStartTest, AFinishedRunHasNothingToDo) {
  auto store = claimed();
  commit(store, 30, true);
  const Error error = error_of();
  EXPECT_EQ(error.code(), ErrorCode::kNothingToDo);
  EXPECT_EQ(error.message(), "is finished at step 30: nothing to do (a new run: --resume never)");
  EXPECT_EQ(error_of({"train.epochs=5"}).code(), ErrorCode::kConfig);  // not without --allow
  EXPECT_EQ(error_of({"train.epochs=2"}, {"auto", {"train.epochs"}}).code(), ErrorCode::kNothingToDo);
  EXPECT_EQ(error_of({"optimizer.learning_rate=1"}, {"auto", {"optimizer.learning_rate"}}).code(),
            ErrorCode::kNothingToDo);
}

TEST_F(RunStartTest, AFinishedRunThatGetsMoreToDoGoesOn) {
  auto store = claimed();
  commit(store, 30, true);
  EXPECT_TRUE(start({"train.epochs=5"}, {"auto", {"train.epochs"}}).resumed);
  EXPECT_TRUE(start({"train.epochs=~", "train.steps=31"}, {"auto", {"train.steps"}}).resumed);
  EXPECT_EQ(error_of({"train.epochs=~", "train.steps=30"}, {"auto", {"train.steps"}}).code(),
            ErrorCode::kNothingToDo);
}

TEST_F(RunStartTest, ARunThatStoppedEarlyGoesOnOnlyWhenAskedForSomethingElse) {
  auto store = claimed();
  commit(store, 20, true);
  EXPECT_EQ(error_of().code(), ErrorCode::kNothingToDo);
  EXPECT_TRUE(start({"evaluate.stop_early=9"}, {"auto", {"evaluate.stop_early"}}).resumed);
}

TEST_F(RunStartTest, APathNamesARunOrOneOfItsCheckpoints) {
  auto store = claimed();
  commit(store, 10);
  commit(store, 20);
  files_.rename("/runs/a", "/runs/moved");
  EXPECT_EQ(start({}, {"/runs/moved", {}}).checkpoint->step, 20U);
  EXPECT_EQ(start({}, {"/runs/moved/", {}}).directory, "/runs/moved");
  for (const char* path :
       {"/runs/moved/checkpoints/g0001-step-00000010", "/runs/moved/checkpoints/g0001-step-00000010/"}) {
    const RunStart resumed = start({}, {path, {}});
    EXPECT_EQ(resumed.directory, "/runs/moved");
    EXPECT_EQ(resumed.parent, "g0001-step-00000010");
    EXPECT_EQ(resumed.checkpoint->step, 10U);
  }
  for (const char* path : {"/runs", "/runs/none", "/runs/moved/checkpoints/g0009-step-00000010"}) {
    const Error error = error_of({}, {path, {}});
    EXPECT_EQ(error.code(), ErrorCode::kConfig) << path;
    EXPECT_EQ(error.where(), path);
  }
}

TEST_F(RunStartTest, ACheckpointThatIsNamedMustBeGoodAndItself) {
  auto store = claimed();
  commit(store, 10);
  commit(store, 20);
  const std::string checkpoints = "/runs/a/checkpoints/";
  files_.rename(checkpoints + "g0001-step-00000010", checkpoints + "g0001-step-00000011");
  EXPECT_EQ(error_of({}, {checkpoints + "g0001-step-00000011", {}}).message(),
            "is a copy of checkpoint g0001-step-00000010");
  files_.flip_bit(checkpoints + "g0001-step-00000020/manifest.json", 40, 3);
  EXPECT_EQ(error_of({}, {checkpoints + "g0001-step-00000020", {}}).code(), ErrorCode::kStorage);
}

TEST_F(RunStartTest, ALaterGenerationIsPreferred) {
  auto first = claimed();
  commit(first, 10);
  commit(first, 30);
  auto second = claimed("g0001-step-00000010");
  commit(second, 20);
  EXPECT_EQ(start().parent, "g0002-step-00000020");
}

// A storage that fails must not look like a run that is not there.
TEST_F(RunStartTest, StorageThatFailsIsAnError) {
  auto store = claimed();
  commit(store, 10);
  const std::uint64_t before = files_.operations();
  start();
  const std::uint64_t needed = files_.operations() - before;
  ASSERT_GT(needed, 5U);
  int errors = 0;
  for (std::uint64_t i = 0; i < needed; ++i) {
    files_.fail_at(files_.operations() + i);
    try {
      EXPECT_TRUE(start().resumed);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kStorage);
      errors += 1;
    }
  }
  EXPECT_GT(errors, 0);
}

TEST(InheritResolved, TakesOverWhatWasLeftOpen) {
  const Config earlier =
      config_with().with("batch", "lanes", 64).with("batch", "window", 16).with("schedule", "horizon", 30);
  const Config now =
      inherit_resolved(config_with({"batch.window=8", "train.epochs=~", "train.steps=5"}), earlier);
  EXPECT_EQ(now.unsigned_at("batch", "lanes"), 64U);
  EXPECT_EQ(now.unsigned_at("batch", "window"), 8U);
  EXPECT_EQ(now.unsigned_at("schedule", "horizon"), 30U);
  EXPECT_TRUE(now.at("train", "epochs").is_null());
  Json older = earlier.values();
  older["schedule"].erase("horizon");
  EXPECT_TRUE(inherit_resolved(config_with(), Config(older)).at("schedule", "horizon").is_null());
}

/// Keys that came later, the model's own too, are as their defaults in what an earlier version left.
TEST_F(RunStartTest, AnEarlierVersionsConfigLacksKeysAndIsTheSameRun) {
  Json values = resolved_.values();
  values.at("model").erase("bias");
  values.at("model").erase("init_from");
  values.at("train").erase("clip_norm");
  EXPECT_EQ(Config(values, kModels).section("model").at("bias"), true);
  CheckpointStore store = claimed();
  commit(store, 5, false, values);
  StartOptions options;
  options.models = kModels;
  EXPECT_TRUE(start({}, options).changes.empty());
  EXPECT_EQ(error_of({"model.bias=false"}, options).code(), ErrorCode::kConfig)
      << "another value is another run";
}

}  // namespace
}  // namespace muster
