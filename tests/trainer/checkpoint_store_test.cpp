// Checkpoints: whatever is killed, torn, flipped or full, an intact one is chosen, and never one of an
// orphan.
#include "trainer/checkpoint_store.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <utility>

#include "tests/trainer/faulty_file_system.h"

namespace muster {
namespace {

const std::filesystem::path kDirectory = "/run/checkpoints";

std::vector<std::byte> bytes_of(std::uint64_t seed, std::size_t count) {
  std::vector<std::byte> bytes(count);
  std::mt19937 random(static_cast<std::uint32_t>(seed));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

CheckpointContent content_of(std::uint64_t step) {
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

void expect_equal(const CheckpointContent& a, const CheckpointContent& b) {
  EXPECT_EQ(a.step, b.step);
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.pipeline, b.pipeline);
  EXPECT_EQ(a.contract_yaml, b.contract_yaml);
  EXPECT_EQ(a.model, b.model);
  EXPECT_EQ(a.optimizer, b.optimizer);
}

/// A durable, empty run directory.
std::unique_ptr<FaultyFileSystem> empty_run() {
  auto files = std::make_unique<FaultyFileSystem>();
  files->make_directories("/run");
  files->sync_directory("/");
  return files;
}

CheckpointStore store_on(FileSystem& files) { return {files, kDirectory, "run-1"}; }

/// What a start finds: the chosen checkpoint's name, loaded and equal to what was committed under its step;
/// "" for none.
std::string chosen(FileSystem& files) {
  const auto choice = store_on(files).latest_good();
  if (!choice.checkpoint) return "";
  const auto content = load_checkpoint(files, choice.checkpoint->directory);
  EXPECT_TRUE(content) << content.error().what();
  if (content) expect_equal(content.value(), content_of(choice.checkpoint->step));
  return choice.checkpoint->name;
}

std::vector<std::string> checkpoints(FileSystem& files) {
  std::vector<std::string> names;
  for (const std::string& entry : files.list(kDirectory)) {
    if (entry.starts_with("g")) names.push_back(entry);
  }
  return names;
}

TEST(CheckpointStore, WhatIsCommittedIsLoaded) {
  const auto files = empty_run();
  auto store = store_on(*files);
  EXPECT_FALSE(store.latest_good().checkpoint);
  EXPECT_EQ(store.claim(""), 1U);
  EXPECT_EQ(store.commit(content_of(0), 2), "g0001-step-00000000");
  EXPECT_EQ(store.commit(content_of(1200), 2), "g0001-step-00001200");
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

TEST(CheckpointStore, PointsComeInOrder) {
  const auto files = empty_run();
  auto store = store_on(*files);
  store.claim("");
  std::vector<std::string> points;
  store.on_point = [&](const std::string& point) { points.push_back(point); };
  store.commit(content_of(0), 2);
  EXPECT_EQ(points, (std::vector<std::string>{"files-written", "manifest-written", "renamed", "committed",
                                              "pruned"}));
}

TEST(CheckpointStore, MisuseIsABug) {
  const auto files = empty_run();
  auto store = store_on(*files);
  EXPECT_THROW(store.commit(content_of(0), 2), Error);  // nothing claimed
  store.claim("");
  EXPECT_THROW(store.commit(content_of(0), 1), Error);
  store.commit(content_of(0), 2);
  EXPECT_THROW(store.commit(content_of(0), 2), Error);  // twice
  EXPECT_EQ(chosen(*files), "g0001-step-00000000");
}

/// The state before the commit under test: two generations, two checkpoints each.
std::unique_ptr<FaultyFileSystem> run_with_history() {
  auto files = empty_run();
  auto first = store_on(*files);
  first.claim("");
  first.commit(content_of(0), 2);
  first.commit(content_of(10), 2);
  return files;
}

/// Claims, commits, commits; then what a restart finds must be one of `allowed`.
void commit_two(FileSystem& files) {
  auto store = store_on(files);
  const auto parent = store.latest_good().checkpoint;
  store.claim(parent ? parent->name : "");
  store.commit(content_of(20), 2);
  store.commit(content_of(30), 2);
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
      const std::string after = next.commit(content_of(40), 2);
      for (const std::string& entry : files->list(kDirectory)) {
        EXPECT_FALSE(entry.starts_with(".")) << entry << " is left after a crash at operation " << operation;
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
    store.commit(content_of(0), 2);
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
      committed = store.commit(content_of(20), 2);
      committed = store.commit(content_of(30), 2);
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
      store.commit(content_of(20), 2);
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
    for (const std::uint64_t step : {0, 10, 20}) store.commit(content_of(step), 2);
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

TEST(CheckpointStore, EveryFlippedBitCostsOnlyTheCheckpointItHits) {
  const auto files = run_with_history();
  const std::filesystem::path newest = kDirectory / "g0001-step-00000010";
  std::size_t flips = 0;
  for (const std::string& name : files->list(newest)) {
    const std::uint64_t size = files->size(newest / name);
    for (std::uint64_t byte = 0; byte < size; ++byte) {
      const int bit = static_cast<int>((byte * 5 + size) % 8);
      files->flip_bit(newest / name, byte, bit);
      const auto verified = verify_checkpoint(*files, newest);
      ASSERT_FALSE(verified) << name << " byte " << byte << " bit " << bit;
      EXPECT_EQ(verified.error().code(), ErrorCode::kStorage);
      EXPECT_EQ(verified.error().where(), (newest / name).string());
      EXPECT_FALSE(load_checkpoint(*files, newest));
      if (byte % 16 == 0) {
        const auto choice = store_on(*files).latest_good();
        ASSERT_TRUE(choice.checkpoint);
        EXPECT_EQ(choice.checkpoint->name, "g0001-step-00000000");
        ASSERT_EQ(choice.rejected.size(), 1U);
        EXPECT_EQ(choice.rejected[0].name, "g0001-step-00000010");
      }
      files->flip_bit(newest / name, byte, bit);
      ++flips;
    }
  }
  EXPECT_GT(flips, 1500U);
  EXPECT_EQ(chosen(*files), "g0001-step-00000010");
}

TEST(CheckpointStore, EveryBitOfTheManifestCounts) {
  const auto files = run_with_history();
  const std::filesystem::path manifest = kDirectory / "g0001-step-00000010" / "manifest.json";
  for (std::uint64_t byte = 0; byte < files->size(manifest); ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      files->flip_bit(manifest, byte, bit);
      ASSERT_FALSE(verify_checkpoint(*files, manifest.parent_path())) << byte << " bit " << bit;
      files->flip_bit(manifest, byte, bit);
    }
  }
}

TEST(CheckpointStore, MissingCutAndForeignFilesAreNamed) {
  const std::filesystem::path newest = kDirectory / "g0001-step-00000010";
  for (const std::string& name : run_with_history()->list(newest)) {
    const auto files = run_with_history();
    const std::string whole = files->read_text(newest / name);
    files->remove_all(newest / name);
    EXPECT_EQ(verify_checkpoint(*files, newest).error().where(), (newest / name).string());
    files->create(newest / name)->append(std::string_view(whole).substr(0, whole.size() - 1));
    EXPECT_EQ(verify_checkpoint(*files, newest).error().where(), (newest / name).string());
    EXPECT_EQ(chosen(*files), "g0001-step-00000000");
  }
  const auto files = run_with_history();
  files->rename(newest, kDirectory / "g0001-step-00000099");  // a copy under another name is not trusted
  EXPECT_EQ(chosen(*files), "g0001-step-00000000");
}

TEST(CheckpointClaims, AFlippedBitInAClaimCostsNothing) {
  const auto files = run_with_history();
  auto orphan = store_on(*files);  // generation 2 starts from step 10 and commits step 20
  orphan.claim("g0001-step-00000010");
  orphan.commit(content_of(20), 3);
  store_on(*files).claim("g0001-step-00000010");  // so does 3, which dies at once
  const std::filesystem::path claim = kDirectory / "claims" / "g0003.json";
  for (std::uint64_t byte = 0; byte < files->size(claim); ++byte) {
    files->flip_bit(claim, byte, static_cast<int>(byte % 8));
    EXPECT_EQ(chosen(*files), "g0001-step-00000010") << byte;
    files->flip_bit(claim, byte, static_cast<int>(byte % 8));
  }
  files->remove_all(claim);
  files->create(claim)->append(std::string_view("lost"));
  const auto choice = store_on(*files).latest_good();  // the best that is left, and a word about the claim
  ASSERT_TRUE(choice.checkpoint);
  ASSERT_EQ(choice.rejected.size(), 1U);
  EXPECT_EQ(choice.rejected[0].reason.where(), claim.string());
}

TEST(CheckpointClaims, OfTwoConcurrentStartsEachGetsItsOwnGeneration) {
  /// Lets another start claim just before the link.
  class Race : public FaultyFileSystem {
   public:
    bool link(const std::filesystem::path& from, const std::filesystem::path& to) override {
      if (const auto intrude = std::exchange(before_link, nullptr)) intrude();
      return FaultyFileSystem::link(from, to);
    }
    std::function<void()> before_link;
  };
  Race files;
  files.make_directories("/run");
  auto first = store_on(files);
  auto second = store_on(files);
  files.before_link = [&] { EXPECT_EQ(second.claim(""), 1U); };
  EXPECT_EQ(first.claim(""), 2U);
  EXPECT_TRUE(second.superseded());
  EXPECT_FALSE(first.superseded());
  try {
    second.commit(content_of(0), 2);
    FAIL() << "an orphan committed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNothingToDo);
  }
  first.commit(content_of(0), 2);
  EXPECT_EQ(chosen(files), "g0002-step-00000000");
  EXPECT_EQ(files.list(kDirectory / "claims"), (std::vector<std::string>{"g0001.json", "g0002.json"}));
}

/// The file system of a process that is taken over in the middle of a commit: it sees no newer claim.
class BlindToClaims : public FaultyFileSystem {
 public:
  std::vector<std::string> list(const std::filesystem::path& directory) override {
    auto names = FaultyFileSystem::list(directory);
    if (blind && directory.filename() == "claims") std::erase(names, "g0002.json");
    return names;
  }
  bool blind = false;
};

TEST(CheckpointClaims, WhatAnOrphanCommitsIsNeverChosen) {
  BlindToClaims files;
  files.make_directories("/run");
  auto orphan = store_on(files);
  orphan.claim("");
  orphan.commit(content_of(0), 5);
  orphan.commit(content_of(10), 5);
  auto next = store_on(files);
  next.claim(chosen(files));
  files.blind = true;
  orphan.commit(content_of(20), 5);
  files.blind = false;
  EXPECT_EQ(chosen(files), "g0001-step-00000010");
  auto third = store_on(files);
  EXPECT_EQ(third.claim("g0001-step-00000010"), 3U);
  EXPECT_EQ(chosen(files), "g0001-step-00000010");
  third.commit(content_of(15), 5);
  EXPECT_EQ(chosen(files), "g0003-step-00000015");
  files.flip_bit(kDirectory / "g0003-step-00000015" / "contract.yaml", 0, 0);
  EXPECT_EQ(chosen(files), "g0001-step-00000010");
  files.flip_bit(kDirectory / "g0001-step-00000010" / "contract.yaml", 0, 0);
  EXPECT_EQ(chosen(files), "g0001-step-00000000");
}

TEST(CheckpointKeep, KeepsTheBestSoFarAndWhatIsProtected) {
  const auto files = run_with_history();
  auto store = store_on(*files);
  store.claim("g0001-step-00000010");
  store.commit(content_of(20), 2);
  EXPECT_EQ(checkpoints(*files), (std::vector<std::string>{"g0001-step-00000010", "g0002-step-00000020"}));
  store.commit(content_of(30), 2, {"g0002-step-00000020"});
  store.commit(content_of(40), 2, {"g0002-step-00000020"});
  EXPECT_EQ(checkpoints(*files),
            (std::vector<std::string>{"g0002-step-00000020", "g0002-step-00000030", "g0002-step-00000040"}));
  store.commit(content_of(50), 3);
  EXPECT_EQ(checkpoints(*files),
            (std::vector<std::string>{"g0002-step-00000030", "g0002-step-00000040", "g0002-step-00000050"}));
}

TEST(CheckpointKeep, ADamagedOneDoesNotCount) {
  const auto files = run_with_history();
  auto store = store_on(*files);
  store.claim("g0001-step-00000010");
  files->flip_bit(kDirectory / "g0001-step-00000010" / "pipeline.json", 3, 1);
  store.commit(content_of(20), 2);  // the second good one is the one before the parent
  EXPECT_EQ(checkpoints(*files),
            (std::vector<std::string>{"g0001-step-00000000", "g0001-step-00000010", "g0002-step-00000020"}));
  store.commit(content_of(30), 2);
  EXPECT_EQ(checkpoints(*files), (std::vector<std::string>{"g0002-step-00000020", "g0002-step-00000030"}));
}

/// Random starts, commits, crashes, orphans and flips, against a model that keeps only names.
class Schedule {
 public:
  explicit Schedule(std::uint32_t seed) : random_(seed), files_(empty_run()) {
    start();
    commit(/*crash=*/false);
  }

  void act() {
    const std::uint32_t action = random_() % 10;
    if (action < 1) start();
    if (action >= 1 && action < 6) commit(/*crash=*/false);
    if (action >= 6 && action < 8) commit(/*crash=*/true);
    if (action == 8) flip();
    if (action == 9) power_cut();
    check();
  }

  std::map<std::string, int> hits;

 private:
  void start() {
    stores_.push_back(std::make_unique<CheckpointStore>(*files_, kDirectory, "run-1"));
    const std::string parent = expected();
    generation_ = stores_.back()->claim(parent);
    parents_[generation_] = parent;
    step_ = parent.empty() ? 0 : std::stoull(parent.substr(parent.rfind('-') + 1)) + 1;
    ++hits["start"];
  }

  void commit(bool crash) {
    if (crash) files_->crash_at(files_->operations() + random_() % 90);
    try {
      const std::string name = stores_.back()->commit(content_of(step_), keep_);
      files_->crash_at(~std::uint64_t{0});
      good_.insert(name);
      ++hits["commit"];
    } catch (const SimulatedCrash&) {
      ++hits["crash"];
      power_cut();
      const std::string name = fmt::format("g{:04}-step-{:08}", generation_, step_);
      if (files_->exists(kDirectory / name) && verify_checkpoint(*files_, kDirectory / name))
        good_.insert(name);
      start();
    }
    forget_deleted();
    step_ += 1 + random_() % 9;
    if (stores_.size() > 1 && random_() % 4 == 0) orphan_commit();
  }

  /// An earlier start that is still alive: it sees the newer claim.
  void orphan_commit() {
    auto& orphan = *stores_[random_() % (stores_.size() - 1)];
    try {
      orphan.commit(content_of(step_ + 1000), keep_);
      FAIL() << "an orphan committed";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kNothingToDo);
      ++hits["orphan"];
    }
  }

  /// Damages a good one, never the last that is left.
  void flip() {
    std::vector<std::string> candidates(good_.begin(), good_.end());
    if (candidates.size() < 2) return;
    const std::string name = candidates[random_() % candidates.size()];
    good_.erase(name);
    if (expected().empty()) {
      good_.insert(name);
      return;
    }
    const auto entries = files_->list(kDirectory / name);
    const std::filesystem::path file = kDirectory / name / entries[random_() % entries.size()];
    files_->flip_bit(file, random_() % files_->size(file), static_cast<int>(random_() % 8));
    ++hits["flip"];
    start();  // a running start trusts what it has verified: damage is met by the next
  }

  void power_cut() {
    files_->restart(random_() % 2 == 0 ? CrashKeeps::kSynced : CrashKeeps::kSome, random_());
    ++hits["power cut"];
  }

  void forget_deleted() {
    std::erase_if(good_, [&](const std::string& name) { return !files_->exists(kDirectory / name); });
  }

  /// The rule of docs/checkpoint.md, over names.
  std::string expected() const {
    std::string limit = fmt::format("g{:04}-step-99999999", parents_.empty() ? 0 : parents_.rbegin()->first);
    while (!limit.empty()) {
      const std::string generation = limit.substr(0, 5);
      auto newest = good_.upper_bound(limit);
      if (newest != good_.begin() && std::prev(newest)->starts_with(generation)) return *std::prev(newest);
      const auto parent = parents_.find(std::stoull(generation.substr(1)));
      limit = parent == parents_.end() ? "" : parent->second;
    }
    return "";
  }

  void check() {
    EXPECT_FALSE(expected().empty());
    EXPECT_EQ(chosen(*files_), expected());
  }

  const std::size_t keep_ = 3;
  std::mt19937 random_;
  std::unique_ptr<FaultyFileSystem> files_;
  std::vector<std::unique_ptr<CheckpointStore>> stores_;
  std::uint64_t generation_ = 0;
  std::uint64_t step_ = 0;
  std::set<std::string> good_;
  std::map<std::uint64_t, std::string> parents_;
};

TEST(CheckpointStore, RandomSchedulesChooseWhatTheModelChooses) {
  std::map<std::string, int> hits;
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    Schedule schedule(seed);
    for (int action = 0; action < 25 && !::testing::Test::HasFailure(); ++action) schedule.act();
    ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed;
    for (const auto& [name, count] : schedule.hits) hits[name] += count;
  }
  for (const std::string name : {"start", "commit", "crash", "orphan", "flip", "power cut"}) {
    std::printf("%s: %d times\n", name.c_str(), hits[name]);
    EXPECT_GT(hits[name], 20) << name;
  }
}

}  // namespace
}  // namespace muster
