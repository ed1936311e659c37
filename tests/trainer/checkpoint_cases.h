#pragma once
// What the tests of checkpoints share: contents that depend on the step, runs in memory, and what a start
// finds.

#include <gtest/gtest.h>

#include <random>

#include "core/faulty_file_system.h"
#include "trainer/checkpoint/checkpoint_store.h"

namespace muster::testing {

inline const std::filesystem::path kDirectory = "/run/checkpoints";

inline std::vector<std::byte> bytes_of(std::uint64_t seed, std::size_t count) {
  std::vector<std::byte> bytes(count);
  std::mt19937 random(static_cast<std::uint32_t>(seed));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

inline CheckpointContent content_of(std::uint64_t step) {
  CheckpointContent content;
  content.step = step;
  content.state = {{"cursor", {{"epoch", 0}, {"step", step}}}, {"best", 0.1}, {"text", "ü\"\\"}};
  content.pipeline = {{"fields", {1, 2.5, "x"}}};
  content.contract_yaml = "version: 1\n";
  content.model = {{"layer.weight", "F32", {2, 3}, bytes_of(step, 24)},
                   {"layer.bias", "F32", {3}, bytes_of(step + 1, 12)}};
  content.optimizer = {{"layer.bias.step", "I64", {}, bytes_of(step + 2, 8)},
                       {"layer.bias.exp_avg", "F32", {3}, bytes_of(step + 3, 12)}};
  return content;
}

inline void expect_equal(const CheckpointContent& a, const CheckpointContent& b) {
  EXPECT_EQ(a.step, b.step);
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.pipeline, b.pipeline);
  EXPECT_EQ(a.contract_yaml, b.contract_yaml);
  EXPECT_EQ(a.model, b.model);
  EXPECT_EQ(a.optimizer, b.optimizer);
}

/// A durable, empty run directory.
inline std::unique_ptr<FaultyFileSystem> empty_run() {
  auto files = std::make_unique<FaultyFileSystem>();
  files->make_directories("/run");
  files->sync_directory("/");
  return files;
}

inline CheckpointStore store_on(FileSystem& files) { return {files, kDirectory, "run-1"}; }

/// What a start finds: the chosen checkpoint's name, loaded and equal to what was committed under its step;
/// "" for none.
inline std::string chosen(FileSystem& files) {
  const auto choice = store_on(files).latest_good();
  if (!choice.checkpoint) return "";
  const auto content = load_checkpoint(files, choice.checkpoint->directory);
  EXPECT_TRUE(content) << content.error().what();
  if (content) expect_equal(content.value(), content_of(choice.checkpoint->step));
  return choice.checkpoint->name;
}

inline std::vector<std::string> checkpoints(FileSystem& files) {
  std::vector<std::string> names;
  for (const std::string& entry : files.list(kDirectory)) {
    if (entry.starts_with('g')) names.push_back(entry);
  }
  return names;
}

/// The state before the commit under test: two generations, two checkpoints each.
inline std::unique_ptr<FaultyFileSystem> run_with_history() {
  auto files = empty_run();
  auto first = store_on(*files);
  first.claim("");
  first.commit(content_of(0), {2});
  first.commit(content_of(10), {2});
  return files;
}

}  // namespace muster::testing
