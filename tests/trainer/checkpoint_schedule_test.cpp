// Random starts, commits, crashes, orphans, flips and power cuts, against a model that keeps only names.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <set>

#include "tests/trainer/checkpoint_cases.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

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
      const std::string name = stores_.back()->commit(content_of(step_), {keep_});
      files_->clear_faults();
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
      orphan.commit(content_of(step_ + 1000), {keep_});
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
    const std::string& name = candidates[random_() % candidates.size()];
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
