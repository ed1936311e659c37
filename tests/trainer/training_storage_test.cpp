// A training whose checkpoints cannot be written for a while: it goes on; for too long: it ends. The run
// directory is in memory, and fails where it is told to.
#include <algorithm>

#include "core/faulty_file_system.h"
#include "tests/trainer/training_case.h"

namespace muster {
namespace {

using testing::Training;

class Storage : public Training {
 protected:
  Storage() {
    auto faulty = std::make_unique<FaultyFileSystem>();
    faults_ = faulty.get();
    faults_->make_directories(scratch_.path());
    files_ = std::move(faulty);
  }

  std::vector<std::string> with(const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"run.name=run",
                                    "train.epochs=~",
                                    "train.steps=120",
                                    "evaluate.every_steps=20",
                                    "checkpoint.every_steps=20",
                                    "checkpoint.keep=100",
                                    "log.tensorboard=false"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  /// All drafts of this step's checkpoint.
  std::filesystem::path drafts(std::uint64_t step) const {
    return run_directory() / "checkpoints" / fmt::format(".tmp-g0001-step-{:08}", step);
  }
  std::vector<Json> events(const std::string& name) const {
    std::vector<Json> found;
    for (const Json& event : read_events(*files_, run_directory() / "events.jsonl")) {
      if (event.at("event") == name) found.push_back(event);
    }
    return found;
  }

  FaultyFileSystem* faults_;
};

TEST_F(Storage, ACheckpointThatCannotBeWrittenIsAnEventAndTheBestOneIsOneThatIsThere) {
  for (const int world : {1, 3}) {
    faults_->remove_all(run_directory());
    faults_->set_read_only(drafts(20));
    const TrainResult result = run(world, with({}));
    EXPECT_EQ(result.outcome, TrainOutcome::kFinished);
    const auto failed = events("checkpoint_failed");
    ASSERT_FALSE(failed.empty());
    for (const Json& event : failed) EXPECT_EQ(event.at("step"), 20);
    EXPECT_EQ(failed[0].at("message"), "cannot write: Permission denied");
    EXPECT_EQ(failed[0].at("retry_seconds"), 1);
    std::vector<std::uint64_t> committed;
    for (const Json& event : events("checkpoint_committed")) committed.push_back(event.at("step"));
    EXPECT_EQ(std::count(committed.begin(), committed.end(), 20U), 0);
    EXPECT_EQ(committed.back(), 120U);
    const std::string best = events("run_finished").at(0).at("best").at("checkpoint");
    EXPECT_TRUE(verify_checkpoint(*files_, run_directory() / "checkpoints" / best)) << best;
  }
}

TEST_F(Storage, WhereNothingCanBeWrittenForTooLongTheRunEndsAndNamesTheLastGoodOne) {
  faults_->set_read_only(drafts(60));
  try {
    run(2, with({"checkpoint.give_up_seconds=0"}));
    FAIL() << "it went on";
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), ErrorCode::kStorage);
    EXPECT_NE(error.message().find(
                  "checkpoint g0001-step-00000060 cannot be written: cannot write: Permission denied; "
                  "the last good one is g0001-step-00000040"),
              std::string::npos)
        << error.what();
  }
}

TEST_F(Storage, WithoutAFirstCheckpointThereIsNoRun) {
  faults_->set_read_only(drafts(0));
  try {
    run(2, with({}));
    FAIL() << "it went on";
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), ErrorCode::kStorage);
  }
  EXPECT_TRUE(events("step").empty());
}

}  // namespace
}  // namespace muster
