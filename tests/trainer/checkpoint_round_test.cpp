// Ranks that write a checkpoint together: whatever fails on whichever rank, all learn the same, and what is
// committed is loaded.
#include "trainer/checkpoint/checkpoint_round.h"

#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "tests/trainer/checkpoint_cases.h"
#include "trainer/checkpoint/checkpoint_shards.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

/// Ranks of one run in one thread; exchanges are made when exchange() is called.
class Ranks {
 public:
  Ranks(FaultyFileSystem& files, int world, bool has_checkpoint = false) : store_(store_on(files)) {
    const auto parent = store_.latest_good().checkpoint;
    store_.claim(parent ? parent->name : "");
    for (int rank = 0; rank < world; ++rank) {
      CheckpointRound::Settings settings;
      settings.files = &files;
      settings.directory = kDirectory;
      settings.rank = rank;
      settings.world = world;
      settings.retry = {1, 8, 100};
      settings.has_checkpoint = has_checkpoint;
      settings.clock = [this] { return now; };
      settings.drop = [this](const std::filesystem::path& draft) { store_.drop(draft); };
      rounds_.push_back(std::make_unique<CheckpointRound>(settings));
    }
  }

  /// The files of content_of(step), dealt to the ranks in turn.
  void begin(std::uint64_t step) {
    const CheckpointContent content = content_of(step);
    CheckpointPart all = whole(content);
    for (std::size_t rank = 0; rank < rounds_.size(); ++rank) {
      CheckpointPart part;
      for (std::size_t i = rank; i < all.files.size(); i += rounds_.size())
        part.files.push_back(all.files[i]);
      CheckpointRound::Publish publish;
      if (rank == 0) {
        publish = [this, content](const std::filesystem::path& draft, const FileStamps& stamps) {
          std::string name = store_.publish(draft, {content.step, content.state}, stamps);
          store_.tidy(name, {2});
          return name;
        };
      }
      rounds_[rank]->begin(checkpoint_name(store_.generation(), step), step, std::move(part), publish);
    }
  }

  /// One exchange; the outcome, which must be the same on all ranks.
  std::optional<CheckpointOutcome> exchange(bool wait = true) {
    std::vector<std::string> news;
    for (const auto& round : rounds_) {
      if (wait) round->wait(std::chrono::seconds(10));
      news.push_back(round->news());
    }
    std::optional<CheckpointOutcome> first;
    for (std::size_t rank = 0; rank < rounds_.size(); ++rank) {
      const auto outcome = rounds_[rank]->take(news);
      if (rank == 0) first = outcome;
      EXPECT_EQ(outcome.has_value(), first.has_value());
      if (!outcome || !first) continue;
      EXPECT_EQ(outcome->name, first->name);
      EXPECT_EQ(outcome->final, first->final);
      EXPECT_EQ(outcome->rank, first->rank);
      EXPECT_EQ(outcome->error.has_value(), first->error.has_value());
      if (outcome->error && first->error) {
        EXPECT_STREQ(outcome->error->what(), first->error->what());
      }
    }
    return first;
  }

  /// Exchanges until something came of the round.
  CheckpointOutcome outcome() {
    for (int i = 0; i < 1000; ++i) {
      if (const auto outcome = exchange()) return *outcome;
      now += 0.25;
      if (!rounds_.front()->busy()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ADD_FAILURE() << "nothing came of it";
    return {};
  }

  bool busy() const { return rounds_.front()->busy(); }
  bool failing() const { return rounds_.front()->failing(); }
  void hurry(double seconds) {
    for (const auto& round : rounds_) round->hurry(seconds);
  }
  CheckpointStore& store() { return store_; }
  double now = 1000;

 private:
  CheckpointStore store_;
  std::vector<std::unique_ptr<CheckpointRound>> rounds_;
};

std::vector<std::string> drafts(FileSystem& files) {
  std::vector<std::string> names;
  for (const std::string& entry : files.list(kDirectory)) {
    if (entry.starts_with('.')) names.push_back(entry);
  }
  return names;
}

TEST(CheckpointRound, EachRankWritesItsPartAndAllLearnOfTheCommit) {
  for (const int world : {1, 2, 3, 7}) {
    const auto files = empty_run();
    Ranks ranks(*files, world);
    for (const std::uint64_t step : {0, 10, 20}) {
      ranks.begin(step);
      EXPECT_TRUE(ranks.busy());
      const CheckpointOutcome outcome = ranks.outcome();
      EXPECT_FALSE(outcome.error) << outcome.error->what();
      EXPECT_EQ(outcome.step, step);
      EXPECT_FALSE(ranks.busy());
      EXPECT_EQ(chosen(*files), outcome.name);
    }
    EXPECT_TRUE(drafts(*files).empty());
  }
}

TEST(CheckpointRound, AFailedPartIsTriedAgainAfterAWhile) {
  const auto files = run_with_history();
  Ranks ranks(*files, 3, true);
  files->set_read_only("/run/checkpoints/.tmp-g0002-step-00000020.1");
  ranks.begin(20);
  const CheckpointOutcome failed = ranks.outcome();
  ASSERT_TRUE(failed.error);
  EXPECT_NE(std::string(failed.error->what()).find("Permission denied"), std::string::npos);
  EXPECT_FALSE(failed.final);
  EXPECT_TRUE(ranks.failing());
  EXPECT_EQ(failed.retry_seconds, 1);
  const double before = ranks.now;
  const CheckpointOutcome committed = ranks.outcome();
  EXPECT_FALSE(committed.error);
  EXPECT_GE(ranks.now, before + 1);
  EXPECT_EQ(chosen(*files), "g0002-step-00000020");
}

TEST(CheckpointRound, TriesAreFurtherAndFurtherApartAndEndWithTheRun) {
  const auto files = run_with_history();
  Ranks ranks(*files, 2, true);
  files->set_read_only("/run");
  ranks.begin(20);
  std::vector<double> waits;
  CheckpointOutcome outcome = ranks.outcome();
  while (!outcome.final) {
    waits.push_back(outcome.retry_seconds);
    outcome = ranks.outcome();
  }
  ASSERT_GT(waits.size(), 6U);
  EXPECT_EQ(std::vector<double>(waits.begin(), waits.begin() + 6), (std::vector<double>{1, 2, 4, 8, 8, 8}));
  EXPECT_NEAR(ranks.now, 1100, 15);
  EXPECT_EQ(chosen(*files), "g0001-step-00000010");
}

TEST(CheckpointRound, HowLongAgoTheLastOneWasIsNoReasonToGiveUp) {
  const auto files = run_with_history();
  Ranks ranks(*files, 2, true);
  ranks.now += 1e6;
  files->set_read_only("/run/checkpoints/.tmp-g0002-step-00000020.1");
  ranks.begin(20);
  EXPECT_TRUE(ranks.outcome().error);
  const CheckpointOutcome committed = ranks.outcome();
  EXPECT_FALSE(committed.error) << committed.error->what();
  EXPECT_LT(committed.write_seconds, 1) << "of the try that went well";
}

TEST(CheckpointRound, AStopDoesNotWaitLong) {
  const auto files = run_with_history();
  Ranks ranks(*files, 2, true);
  files->set_read_only("/run");
  ranks.begin(20);
  ranks.hurry(5);
  while (!ranks.outcome().final) continue;
  EXPECT_LT(ranks.now, 1010);
}

TEST(CheckpointRound, WithoutAnyCheckpointAFailureIsTheEnd) {
  const auto files = empty_run();
  Ranks ranks(*files, 2);
  files->set_capacity(100);
  ranks.begin(0);
  const CheckpointOutcome outcome = ranks.outcome();
  EXPECT_TRUE(outcome.final);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code(), ErrorCode::kStorage);
}

TEST(CheckpointRound, ANewerStartEndsIt) {
  const auto files = run_with_history();
  Ranks ranks(*files, 2, true);
  store_on(*files).claim("g0001-step-00000010");
  ranks.begin(20);
  const CheckpointOutcome outcome = ranks.outcome();
  EXPECT_TRUE(outcome.final);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code(), ErrorCode::kNothingToDo);
  EXPECT_EQ(chosen(*files), "g0001-step-00000010");
}

TEST(CheckpointRound, AFailingOneGivesWayToTheNext) {
  const auto files = run_with_history();
  Ranks ranks(*files, 2, true);
  files->set_read_only("/run/checkpoints/.tmp-g0002-step-00000020.1");
  ranks.begin(20);
  EXPECT_TRUE(ranks.outcome().error);
  ranks.begin(30);
  const CheckpointOutcome outcome = ranks.outcome();
  EXPECT_EQ(outcome.name, "g0002-step-00000030");
  EXPECT_FALSE(outcome.error);
  EXPECT_EQ(chosen(*files), "g0002-step-00000030");
}

TEST(CheckpointRound, ABitFlippedOnTheWayToTheDiskIsNoticedBeforeAnythingIsDeleted) {
  const auto probe = run_with_history();
  {
    Ranks ranks(*probe, 1, true);
    ranks.begin(20);
    ranks.outcome();
  }
  const std::vector<std::string> sites = probe->sites();
  int flips = 0;
  for (std::uint64_t operation = 0; operation < sites.size(); ++operation) {
    if (!sites[operation].starts_with("append /run/checkpoints/.tmp-g0002")) continue;
    const auto files = run_with_history();
    Ranks ranks(*files, 1, true);
    files->set_fault(operation, FileFault::kFlippedBit);
    ranks.begin(20);
    const CheckpointOutcome failed = ranks.outcome();
    ASSERT_TRUE(failed.error) << sites[operation];
    EXPECT_NE(std::string(failed.error->what()).find("is damaged"), std::string::npos);
    EXPECT_EQ(chosen(*files), "g0001-step-00000010");
    EXPECT_FALSE(ranks.outcome().error);
    EXPECT_EQ(chosen(*files), "g0002-step-00000020");
    ++flips;
  }
  EXPECT_GT(flips, 5);
}

/// Random failures on random ranks: outcomes agree (exchange checks that), a committed one is loaded, nothing
/// is left behind.
TEST(CheckpointRound, RandomFaults) {
  std::map<std::string, int> hits;
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    const auto files = run_with_history();
    Ranks ranks(*files, 1 + static_cast<int>(random() % 4), true);
    std::string last = "g0001-step-00000010";
    std::uint64_t step = 20;
    for (int round = 0; round < 6; ++round, step += 10) {
      const int faults = static_cast<int>(random() % 4);
      for (int i = 0; i < faults; ++i) {
        const FileFault kinds[] = {FileFault::kNoSpace, FileFault::kIoError, FileFault::kFlippedBit};
        files->set_fault(files->operations() + random() % 80, kinds[random() % 3]);
      }
      if (ranks.failing()) ++hits["a failing one gives way"];
      ranks.begin(step);
      for (int exchanges = static_cast<int>(random() % 12); exchanges > 0 || ranks.busy(); --exchanges) {
        const auto outcome = ranks.exchange(random() % 2 == 0);
        ranks.now += 0.5;
        if (!outcome) continue;
        ASSERT_FALSE(outcome->final);
        if (outcome->error) ++hits["failed"];
        if (outcome->error) continue;
        last = outcome->name;
        ++hits["committed"];
      }
    }
    while (ranks.failing() || ranks.busy()) {
      const CheckpointOutcome outcome = ranks.outcome();
      files->clear_faults();
      if (outcome.error) continue;
      last = outcome.name;
      ++hits["committed after all"];
    }
    files->clear_faults();
    ranks.begin(step);
    EXPECT_FALSE(ranks.outcome().error);
    EXPECT_EQ(chosen(*files), checkpoint_name(2, step)) << "seed " << seed;
    EXPECT_TRUE(drafts(*files).empty()) << "seed " << seed;
    EXPECT_EQ(checkpoints(*files).size(), 2U) << "seed " << seed;
  }
  for (const std::string name : {"committed", "failed", "a failing one gives way", "committed after all"}) {
    std::printf("%s: %d times\n", name.c_str(), hits[name]);
    EXPECT_GT(hits[name], 10) << name;
  }
}

TEST(CheckpointShards, AreNearEqualAndEachTensorIsWrittenOnce) {
  std::mt19937 random(3);
  int several = 0;
  int one = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<std::uint64_t> sizes(1 + random() % 40);
    const std::uint64_t scale = round % 3 == 0 ? 1000 : 50'000'000;
    for (std::uint64_t& size : sizes) size = random() % 5 == 0 ? 0 : random() % scale;
    const int ranks = 1 + static_cast<int>(random() % 9);
    const CheckpointShards shards = plan_shards(sizes, sizes, ranks);
    for (const auto& kind : {shards.model, shards.optimizer}) {
      std::size_t next = 0;
      std::uint64_t largest = 0;
      std::uint64_t all = 0;
      for (const CheckpointShard& shard : kind) {
        EXPECT_EQ(shard.first, next);
        EXPECT_GE(shard.rank, 0);
        EXPECT_LT(shard.rank, ranks);
        next += shard.count;
        std::uint64_t bytes = 0;
        for (std::size_t i = 0; i < shard.count; ++i) bytes += sizes[shard.first + i];
        largest = std::max(largest, bytes);
        all += bytes;
      }
      EXPECT_EQ(next, sizes.size());
      EXPECT_LE(kind.size(), static_cast<std::size_t>(ranks));
      EXPECT_LE(largest, all / kind.size() + *std::max_element(sizes.begin(), sizes.end()));
      kind.size() > 1 ? ++several : ++one;
    }
    std::vector<std::string> names;
    for (std::size_t i = 0; i < sizes.size(); ++i) names.push_back(fmt::format("t{}", i));
    const Json index = Json::parse(model_index(names, sizes, shards.model));
    EXPECT_EQ(index.at("weight_map").size(), sizes.size());
    EXPECT_EQ(index.at("weight_map").at("t0"), shards.model.front().file);
  }
  std::printf("several shards: %d times, one: %d times\n", several, one);
  EXPECT_GT(several, 50);
  EXPECT_GT(one, 50);
}

}  // namespace
}  // namespace muster
