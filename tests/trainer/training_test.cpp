// The whole loop in one process, ranks as threads: stopping inside an evaluation, resuming it, early
// stopping, a model that throws.

#include <gtest/gtest.h>

#include <algorithm>

#include "core/yaml.h"
#include "data_loader/generator.h"
#include "data_loader/validate.h"
#include "tests/data_loader/scratch_directory.h"
#include "trainer/agreement.h"
#include "trainer/events.h"
#include "trainer/local_communicator.h"
#include "trainer/trainer.h"

namespace muster {
namespace {

using testing::ScratchDirectory;

class Training : public ::testing::Test {
 protected:
  void SetUp() override {
    GenerateOptions generate_options;
    generate_options.kind = "tabular";
    generate_options.rows = 3000;
    generate_options.partitions = 3;
    generate_options.out = data();
    generate(generate_options);
    ValidateOptions validate_options;
    validate_options.directory = data();
    ASSERT_TRUE(validate(validate_options).faults.empty());
  }

  std::filesystem::path data() const { return scratch_ / "data"; }
  std::filesystem::path run_directory() const { return scratch_ / "runs" / "run"; }

  Config config(const std::vector<std::string>& overrides) const {
    const std::string text = "run: {dir: " + (scratch_ / "runs").string() +
                             "}\ndata: {dataset: " + data().string() +
                             "}\nmodel: {name: mlp, hidden: [8]}\nbatch: {size: 64, lanes: 8, window: 2}\n" +
                             "train: {threads: 1, epochs: 3}\nlog: {every_steps: 1}\n";
    return Config::parse(YamlNode::parse(text, "config.yaml"), overrides, registered_model_options());
  }

  /// Trains on `world` threads; `stop_at`: this rank's own progress asks for a stop after that step (0:
  /// never).
  TrainResult run(int world, const std::vector<std::string>& overrides, std::uint64_t stop_at = 0) {
    TrainResult result;
    std::vector<StopRequests> requests(static_cast<std::size_t>(world));
    run_local(world, [&](Communicator& comm) {
      TrainOptions options(config(overrides));
      StopRequests& mine = requests[static_cast<std::size_t>(comm.rank())];
      options.requests = &mine;
      options.progress = [&](const Progress& progress) {
        if (progress.step == stop_at) mine.stop = true;
      };
      const TrainResult ours = train(comm, *files_, options);
      if (comm.rank() == 0) result = ours;
    });
    return result;
  }

  std::vector<std::string> event_names() const {
    std::vector<std::string> names;
    for (const Json& event : read_events(*files_, run_directory() / "events.jsonl")) {
      if (event.at("event") != "step") names.push_back(event.at("event").get<std::string>());
    }
    return names;
  }

  ScratchDirectory scratch_;
  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
};

std::uint64_t steps_per_epoch(const TrainResult& result) {
  return result.plan.at("steps_per_epoch").get<std::uint64_t>();
}

TEST_F(Training, AStopInsideAnEvaluationIsResumedByThatEvaluation) {
  const TrainResult undisturbed = run(2, {"run.name=undisturbed"});
  const std::uint64_t evaluated_at = steps_per_epoch(undisturbed);
  // The request comes after the step's verdict, so that the evaluation of that step is the first to see it.
  const TrainResult stopped = run(2, {"run.name=run"}, evaluated_at);
  EXPECT_EQ(stopped.outcome, TrainOutcome::kStopped);
  EXPECT_EQ(event_names(), (std::vector<std::string>{"run_started", "checkpoint_committed",
                                                     "checkpoint_committed", "stopped"}));

  const TrainResult resumed = run(3, {"run.name=run"});
  EXPECT_EQ(resumed.outcome, TrainOutcome::kFinished);
  EXPECT_EQ(resumed.running_digest, undisturbed.running_digest);
  const std::vector<Json> events = read_events(*files_, run_directory() / "events.jsonl");
  const auto after =
      std::find_if(events.begin(), events.end(), [](const Json& e) { return e.at("event") == "resumed"; });
  ASSERT_NE(after, events.end());
  EXPECT_EQ((after + 1)->at("event"), "evaluated");
  EXPECT_EQ((after + 1)->at("step"), evaluated_at);
}

TEST_F(Training, AStopAtTheLastStepLeavesItsEvaluationToTheNextStart) {
  const TrainResult undisturbed = run(1, {"run.name=undisturbed"});
  const TrainResult stopped = run(1, {"run.name=run"}, 3 * steps_per_epoch(undisturbed));
  EXPECT_EQ(stopped.outcome, TrainOutcome::kStopped);
  const TrainResult resumed = run(1, {"run.name=run"});
  EXPECT_EQ(resumed.outcome, TrainOutcome::kFinished);
  EXPECT_EQ(resumed.metrics, undisturbed.metrics);
}

TEST_F(Training, StopsEarlyWhenNothingGetsBetter) {
  // With a rate of zero the first evaluation stays the best.
  const std::vector<std::string> overrides = {"run.name=run", "optimizer.learning_rate=0",
                                              "evaluate.every_steps=5", "evaluate.stop_early=2",
                                              "checkpoint.every_steps=5"};
  const TrainResult result = run(2, overrides);
  EXPECT_EQ(result.outcome, TrainOutcome::kFinished);
  const std::vector<Json> events = read_events(*files_, run_directory() / "events.jsonl");
  EXPECT_EQ(events.back().at("event"), "run_finished");
  EXPECT_EQ(events.back().at("step"), 15);
  EXPECT_EQ(events.back().at("stopped_early"), true);
  EXPECT_EQ(events.back().at("best").at("step"), 5);
  EXPECT_THROW(run(2, overrides), AgreedError);  // finished: nothing to do
}

TEST_F(Training, MetricsAndDigestsAreTheSameForAnyNumberOfRanks) {
  const TrainResult one = run(1, {"run.name=one"});
  const TrainResult five = run(5, {"run.name=five"});
  EXPECT_EQ(one.running_digest, five.running_digest);
  EXPECT_EQ(one.metrics.at("validation").at("rows"), five.metrics.at("validation").at("rows"));
}

TEST_F(Training, ALossThatIsNotFiniteEndsAllRanksWithADataError) {
  try {
    run(2, {"run.name=run", "optimizer.name=sgd", "optimizer.learning_rate=1e30"});
    FAIL() << "the loss stayed finite";
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
    EXPECT_NE(error.message().find("not finite on rank"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace muster
