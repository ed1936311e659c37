// Checkpoints: what is committed is loaded, in order, and what cannot be written is one clear line.
#include <gtest/gtest.h>

#include "tests/trainer/checkpoint_cases.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

TEST(CheckpointStore, WhatIsCommittedIsLoaded) {
  const auto files = empty_run();
  auto store = store_on(*files);
  EXPECT_FALSE(store.latest_good().checkpoint);
  EXPECT_EQ(store.claim(""), 1U);
  EXPECT_EQ(store.commit(content_of(0), {2}), "g0001-step-00000000");
  EXPECT_EQ(store.commit(content_of(1200), {2}), "g0001-step-00001200");
  const auto choice = store_on(*files).latest_good();
  ASSERT_TRUE(choice.checkpoint);
  EXPECT_TRUE(choice.rejected.empty());
  EXPECT_EQ(choice.checkpoint->name, "g0001-step-00001200");
  EXPECT_EQ(choice.checkpoint->run_id, "run-1");
  EXPECT_EQ(choice.checkpoint->parent, "");
  expect_equal(load_checkpoint(*files, choice.checkpoint->directory).value(), content_of(1200));
  EXPECT_EQ(files->read_text(kDirectory / "LATEST"), "g0001-step-00001200\n");
  EXPECT_EQ(files->list(kDirectory / "g0001-step-00001200"),
            (std::vector<std::string>{"contract.yaml", "manifest.json", "model-00001-of-00001.safetensors",
                                      "model.safetensors.index.json", "optimizer-00001-of-00001.safetensors",
                                      "pipeline.json"}));
}

TEST(CheckpointStore, MisuseIsABug) {
  const auto files = empty_run();
  auto store = store_on(*files);
  EXPECT_THROW(store.commit(content_of(0), {2}), Error);  // nothing claimed
  store.claim("");
  EXPECT_THROW(store.commit(content_of(0), {1}), Error);
  store.commit(content_of(0), {2});
  EXPECT_THROW(store.commit(content_of(0), {2}), Error);  // twice
  EXPECT_EQ(chosen(*files), "g0001-step-00000000");
}

TEST(CheckpointStore, ADirectoryThatCannotBeWrittenIsOneClearLine) {
  const auto files = run_with_history();
  files->set_read_only("/run");
  auto store = store_on(*files);
  EXPECT_EQ(store.latest_good().checkpoint->name, "g0001-step-00000010");
  try {
    store.claim("g0001-step-00000010");
    FAIL() << "claimed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kStorage);
    EXPECT_STREQ(error.what(), "/run/checkpoints/claims: cannot write: Permission denied");
  }
}

TEST(CheckpointStore, TheMachinesOwnFilesWorkToo) {
  const auto root = std::filesystem::path(::testing::TempDir()) / "muster-checkpoint-store-test";
  std::filesystem::remove_all(root);
  std::filesystem::create_directories(root);
  const auto files = make_posix_file_system();
  {
    CheckpointStore store(*files, root / "checkpoints", "run-1");
    store.claim("");
    for (const std::uint64_t step : {0, 10, 20}) store.commit(content_of(step), {2});
  }
  CheckpointStore next(*files, root / "checkpoints", "run-1");
  const auto choice = next.latest_good();
  ASSERT_TRUE(choice.checkpoint);
  EXPECT_EQ(choice.checkpoint->name, "g0001-step-00000020");
  expect_equal(load_checkpoint(*files, choice.checkpoint->directory).value(), content_of(20));
  EXPECT_FALSE(files->exists(root / "checkpoints/g0001-step-00000000"));
  EXPECT_EQ(next.claim(choice.checkpoint->name), 2U);

  files->create(root / "file");
  CheckpointStore blocked(*files, root / "file" / "checkpoints", "run-1");
  try {
    blocked.claim("");
    FAIL() << "claimed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kStorage);
    EXPECT_NE(std::string(error.what()).find("Not a directory"), std::string::npos) << error.what();
  }
  std::filesystem::remove_all(root);
}

TEST(CheckpointKeep, KeepsTheBestSoFarAndWhatIsProtected) {
  const auto files = run_with_history();
  auto store = store_on(*files);
  store.claim("g0001-step-00000010");
  store.commit(content_of(20), {2});
  EXPECT_EQ(checkpoints(*files), (std::vector<std::string>{"g0001-step-00000010", "g0002-step-00000020"}));
  store.commit(content_of(30), {2, 0, {"g0002-step-00000020"}});
  store.commit(content_of(40), {2, 0, {"g0002-step-00000020"}});
  EXPECT_EQ(checkpoints(*files),
            (std::vector<std::string>{"g0002-step-00000020", "g0002-step-00000030", "g0002-step-00000040"}));
  store.commit(content_of(50), {3});
  EXPECT_EQ(checkpoints(*files),
            (std::vector<std::string>{"g0002-step-00000030", "g0002-step-00000040", "g0002-step-00000050"}));
}

TEST(CheckpointKeep, EveryKthStaysForEver) {
  const auto files = run_with_history();
  auto store = store_on(*files);
  store.claim("g0001-step-00000010");
  for (const std::uint64_t step : {20, 30, 40, 50, 60, 70}) store.commit(content_of(step), {2, 30, {}});
  EXPECT_EQ(checkpoints(*files), (std::vector<std::string>{"g0001-step-00000000", "g0002-step-00000030",
                                                           "g0002-step-00000060", "g0002-step-00000070"}));
}

TEST(CheckpointKeep, ADamagedOneDoesNotCount) {
  const auto files = run_with_history();
  auto store = store_on(*files);
  store.claim("g0001-step-00000010");
  files->flip_bit(kDirectory / "g0001-step-00000010" / "pipeline.json", 3, 1);
  store.commit(content_of(20), {2});  // the second good one is the one before the parent
  EXPECT_EQ(checkpoints(*files),
            (std::vector<std::string>{"g0001-step-00000000", "g0001-step-00000010", "g0002-step-00000020"}));
  store.commit(content_of(30), {2});
  EXPECT_EQ(checkpoints(*files), (std::vector<std::string>{"g0002-step-00000020", "g0002-step-00000030"}));
}

}  // namespace
}  // namespace muster
