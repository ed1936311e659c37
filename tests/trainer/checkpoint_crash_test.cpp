// A crash, an error or a full disk at any operation of a commit leaves the old checkpoint or the new.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/trainer/checkpoint_cases.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

/// Claims, commits, commits; then what a restart finds must be one of `allowed`.
void commit_two(FileSystem& files) {
  auto store = store_on(files);
  const auto parent = store.latest_good().checkpoint;
  store.claim(parent ? parent->name : "");
  store.commit(content_of(20), {2});
  store.commit(content_of(30), {2});
}

const std::set<std::string> kOldOrNew{"g0001-step-00000010", "g0002-step-00000020", "g0002-step-00000030"};

TEST(CheckpointStore, ACrashAtAnyOperationLeavesTheOldOrTheNew) {
  const auto probe = run_with_history();
  const std::uint64_t start = probe->operations();
  commit_two(*probe);
  const std::uint64_t end = probe->operations();
  ASSERT_GT(end, start + 60);
  std::map<std::string, int> found;
  for (std::uint64_t operation = start; operation < end; ++operation) {
    for (std::uint32_t seed = 0; seed < 8; ++seed) {
      const auto keeps = seed == 0   ? CrashKeeps::kSynced
                         : seed == 1 ? CrashKeeps::kEverything
                                     : CrashKeeps::kSome;
      const auto files = run_with_history();
      files->crash_at(operation);
      EXPECT_THROW(commit_two(*files), SimulatedCrash);
      files->restart(keeps, seed);
      const std::string name = chosen(*files);
      EXPECT_TRUE(kOldOrNew.count(name))
          << "'" << name << "' after a crash at operation " << operation << ", seed " << seed;
      ++found[name];
      // And the next start goes on from there, with nothing left lying about.
      auto next = store_on(*files);
      next.claim(name);
      const std::string after = next.commit(content_of(40), {2});
      for (const std::string& entry : files->list(kDirectory)) {
        EXPECT_FALSE(entry.starts_with('.')) << entry << " is left after a crash at operation " << operation;
      }
      files->restart(CrashKeeps::kSynced, 0);
      EXPECT_EQ(chosen(*files), after);
    }
  }
  EXPECT_EQ(found.size(), kOldOrNew.size());  // each outcome was seen
}

TEST(CheckpointStore, ACommitThatReturnedIsNeverLost) {
  for (std::uint32_t seed = 0; seed < 10; ++seed) {
    const auto files = run_with_history();
    commit_two(*files);
    files->restart(seed == 0 ? CrashKeeps::kSynced : CrashKeeps::kSome, seed);
    EXPECT_EQ(chosen(*files), "g0002-step-00000030");
  }
}

TEST(CheckpointStore, AFirstCommitThatCrashesLeavesNothingOrAllOfIt) {
  const auto first_commit = [](FileSystem& files) {
    auto store = store_on(files);
    store.claim("");
    store.commit(content_of(0), {2});
  };
  const auto probe = empty_run();
  const std::uint64_t start = probe->operations();
  first_commit(*probe);
  for (std::uint64_t operation = start; operation < probe->operations(); ++operation) {
    for (std::uint32_t seed = 0; seed < 4; ++seed) {
      const auto files = empty_run();
      files->crash_at(operation);
      EXPECT_THROW(first_commit(*files), SimulatedCrash);
      files->restart(seed == 0 ? CrashKeeps::kSynced : CrashKeeps::kSome, seed);
      const std::string name = chosen(*files);
      EXPECT_TRUE(name.empty() || name == "g0001-step-00000000") << name;
    }
  }
}

TEST(CheckpointStore, AnErrorAtAnyOperationIsOneLineOrAWarning) {
  const auto probe = run_with_history();
  const std::uint64_t start = probe->operations();
  commit_two(*probe);
  int thrown = 0;
  int warned = 0;
  for (std::uint64_t operation = start; operation < probe->operations(); ++operation) {
    const auto files = run_with_history();
    files->fail_at(operation);
    std::vector<std::string> warnings;
    CheckpointStore store(*files, kDirectory, "run-1",
                          [&](LogLevel, std::string_view line) { warnings.emplace_back(line); });
    std::string committed;
    try {
      const auto parent = store.latest_good().checkpoint;
      store.claim(parent ? parent->name : "");
      committed = store.commit(content_of(20), {2});
      committed = store.commit(content_of(30), {2});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kStorage);
      EXPECT_NE(std::string(error.what()).find("No space left"), std::string::npos) << error.what();
      EXPECT_FALSE(error.where().empty());
      ++thrown;
    }
    warned += static_cast<int>(warnings.size());
    const std::string name = chosen(*files);
    EXPECT_FALSE(name.empty());
    EXPECT_GE(name, committed) << "operation " << operation;  // names sort by generation, then step
    for (const auto& [path, data] : files->contents()) {
      EXPECT_EQ(path.find("/.tmp-"), std::string::npos) << path << " at operation " << operation;
    }
    files->restart(CrashKeeps::kSynced,
                   0);  // what was reported as committed outlives the power, warnings or not
    EXPECT_GE(chosen(*files), committed) << "operation " << operation;
  }
  EXPECT_GT(thrown, 30);
  EXPECT_GT(warned, 5);
}

TEST(CheckpointStore, AFullDiskLosesOnlyTheNewOne) {
  const auto files = run_with_history();
  auto store = store_on(*files);
  store.claim("g0001-step-00000010");
  const auto before = files->contents();
  std::uint64_t used = 0;
  for (const auto& [path, data] : before) used += data.size();
  int full = 0;
  for (std::uint64_t room = 0; room < 4000; room += 100) {
    files->set_capacity(used + room);
    try {
      store.commit(content_of(20), {2});
      break;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kStorage);
      EXPECT_NE(std::string(error.what()).find("No space left on device"), std::string::npos);
      EXPECT_EQ(files->contents(), before);
      ++full;
    }
  }
  EXPECT_GT(full, 5);
  EXPECT_EQ(chosen(*files), "g0002-step-00000020");
}

}  // namespace
}  // namespace muster
