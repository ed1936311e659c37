// The whole loop in one process, ranks as threads: stopping inside an evaluation, resuming it, early
// stopping, a loss that is not finite.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <thread>

#include "data_loader/dataset/validate.h"
#include "models/model.h"
#include "tests/data_loader/scratch_directory.h"
#include "tests/trainer/training_case.h"
#include "trainer/comm/local_communicator.h"
#include "trainer/loop/out_of_memory.h"
#include "trainer/loop/trainer.h"
#include "trainer/scoring/checkpoint_evaluation.h"

namespace muster {
namespace {

using testing::steps_per_epoch;
using testing::Training;

TEST(OutOfMemoryTest, WhatAnAllocatorOfLibTorchSaysIsTheConfigsToMend) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer's allocator ends the process";
#endif
  try {
    within_memory([] { return at::empty({std::int64_t{1} << 46}); });
    FAIL() << "there was so much";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig) << error.what();
    EXPECT_NE(error.message().find("lower batch.size"), std::string::npos) << error.what();
    EXPECT_EQ(error.message().find('\n'), std::string::npos) << error.what();
  }
  EXPECT_THROW(within_memory([]() -> int { fail(ErrorCode::kBug, "another"); }), Error);
  EXPECT_THROW(within_memory([] { return at::ones({2}) + at::ones({3}); }), c10::Error);
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

TEST_F(Training, TheBestCheckpointHoldsTheWeightsThatWereEvaluated) {
  // Killed inside the evaluation of a step, or stopped before it: the next start evaluates it first.
  const std::vector<std::string> overrides = {"run.name=run", "evaluate.best_by=loss", "checkpoint.keep=2"};
  const std::uint64_t evaluated_at = steps_per_epoch(run(1, {"run.name=undisturbed"}));
  run(1, overrides, evaluated_at);
  const std::uint64_t stop_soon = evaluated_at + 1;
  EXPECT_EQ(run(1, overrides, stop_soon).outcome, TrainOutcome::kStopped);
  const std::vector<Json> events = read_events(*files_, run_directory() / "events.jsonl");
  CheckpointStore store(*files_, run_directory() / "checkpoints", "");
  const auto newest = store.latest_good().checkpoint;
  ASSERT_TRUE(newest);
  const Json& best = newest->manifest.at("state").at("best");
  EXPECT_EQ(best.at("step"), evaluated_at);
  const std::string name = best.at("checkpoint");
  EXPECT_NE(name.find(fmt::format("-step-{:08}", evaluated_at)), std::string::npos) << name;
  EXPECT_TRUE(files_->exists(run_directory() / "checkpoints" / name));
}

const std::vector<std::string> kDecides = {"run.name=run", "loss.kind=binary", "evaluate.choose_threshold=f1",
                                           "evaluate.calibrate=temperature"};

/// The state of the newest good checkpoint, and of the best one.
Json state_of(FileSystem& files, const std::filesystem::path& run, bool best) {
  CheckpointStore store(files, run / "checkpoints", "");
  const Json state = store.latest_good().checkpoint->manifest.at("state");
  if (!best) return state;
  const std::string name = state.at("best").at("checkpoint");
  return verify_checkpoint(files, run / "checkpoints" / name).value().manifest.at("state");
}

TEST_F(Training, TheBestCheckpointHasItsDecisionAlsoWhenItsEvaluationWasInterrupted) {
  make_data("card-fraud");
  std::vector<std::string> undisturbed = kDecides;
  undisturbed[0] = "run.name=undisturbed";
  const std::uint64_t evaluated_at = steps_per_epoch(run(1, undisturbed));
  EXPECT_EQ(run(1, kDecides, evaluated_at).outcome, TrainOutcome::kStopped);
  EXPECT_TRUE(state_of(*files_, run_directory(), false).at("decision").is_null()) << "not yet evaluated";
  EXPECT_EQ(run(1, kDecides, evaluated_at + 1).outcome, TrainOutcome::kStopped);

  const Json best = state_of(*files_, run_directory(), true);
  EXPECT_EQ(best.at("decision").at("step"), evaluated_at);
  EXPECT_EQ(best.at("evaluated_step"), evaluated_at);
  const Json newest = state_of(*files_, run_directory(), false);
  EXPECT_EQ(newest.at("cursor"), Json::parse(R"({"epoch": 1, "step": 2})"));
  EXPECT_EQ(newest.at("decision"), best.at("decision")) << "kept until the next evaluation";

  EXPECT_EQ(run(1, kDecides).outcome, TrainOutcome::kFinished);
  const Json last = state_of(*files_, run_directory(), false);
  EXPECT_EQ(last.at("decision").at("step"), 3 * evaluated_at);
  const Json alike = state_of(*files_, scratch_ / "runs" / "undisturbed", false);
  EXPECT_EQ(last.at("decision"), alike.at("decision")) << "the same bits, killed or not";
  EXPECT_EQ(last.at("metrics"), alike.at("metrics"));
  EXPECT_GT(last.at("decision").at("temperature").get<double>(), 0);
  EXPECT_NE(last.at("decision").at("temperature"), 1);
}

TEST_F(Training, AStopAtTheLastStepGetsItsDecisionFromTheNextStart) {
  make_data("card-fraud");
  std::vector<std::string> once = kDecides;
  once.emplace_back("train.epochs=1");
  std::vector<std::string> undisturbed = once;
  undisturbed[0] = "run.name=undisturbed";
  const std::uint64_t steps = steps_per_epoch(run(1, undisturbed));
  EXPECT_EQ(run(1, once, steps).outcome, TrainOutcome::kStopped);
  EXPECT_EQ(run(1, once).outcome, TrainOutcome::kFinished);
  const Json best = state_of(*files_, run_directory(), true);
  EXPECT_EQ(best.at("decision").at("step"), steps);
  EXPECT_EQ(best.at("finished"), true);
}

TEST_F(Training, ACheckpointOfAnEarlierVersionIsEvaluatedByItsConfigAndResumed) {
  make_data("card-fraud");
  const std::vector<std::string> plain = {"run.name=run", "loss.kind=binary", "evaluate.threshold=0.25"};
  run(1, plain, 5);
  CheckpointStore store(*files_, run_directory() / "checkpoints", "");
  const CheckpointInfo newest = *store.latest_good().checkpoint;
  CheckpointContent older = load_checkpoint(*files_, newest.directory).value();
  older.state.erase("decision");
  for (const char* key :
       {"choose_threshold", "cost_false_positive", "cost_false_negative", "least_recall", "calibrate"})
    EXPECT_EQ(older.state["config"]["evaluate"].erase(key), 1U) << key;
  CheckpointStore writer(*files_, run_directory() / "checkpoints", newest.run_id);
  writer.claim(newest.name);
  const std::string name = writer.commit(older, {2});
  run_local(2, [&](Communicator& comm) {
    CheckpointEvaluation options;
    options.checkpoint = run_directory() / "checkpoints" / name;
    options.split = "validation";
    options.bootstrap = 20;
    const Json result = evaluate_checkpoint(comm, *files_, options);
    EXPECT_EQ(result.at("metrics").at("threshold"), 0.25);
    EXPECT_FALSE(result.at("metrics").contains("temperature"));
    EXPECT_EQ(result.at("metrics").at("bootstrap"), 20);
  });
  EXPECT_EQ(run(2, plain).outcome, TrainOutcome::kFinished) << "without --allow";
}

TEST_F(Training, AnotherOptimizerStartsWithAnEmptyStateWhereThatIsAllowed) {
  const std::uint64_t epoch = steps_per_epoch(run(1, {"run.name=run"}, 5));
  EXPECT_THROW(run(1, {"run.name=run", "optimizer.name=sgd"}), AgreedError);
  const TrainResult result = run(2, {"run.name=run", "optimizer.name=sgd"}, 0, {"optimizer.name"});
  EXPECT_EQ(result.outcome, TrainOutcome::kFinished);
  EXPECT_EQ(result.plan.at("steps_per_epoch"), epoch);
}

TEST_F(Training, AnEarlierEndThanWhereItIsIsRefused) {
  const std::uint64_t epoch = steps_per_epoch(run(1, {"run.name=run"}, 40));
  ASSERT_LT(epoch, 40U);
  try {
    run(1, {"run.name=run", "train.epochs=1"}, 0, {"train.epochs"});
    FAIL() << "went backwards";
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig) << error.what();
    EXPECT_NE(error.message().find("already, beyond the "), std::string::npos) << error.what();
  }
}

TEST_F(Training, WhatItWillEvaluateOnIsLookedAtBeforeTheFirstStep) {
  for (const char* split : {"evaluate.split=validaton", "evaluate.split=test", "data.split=test"}) {
    try {
      run(1, {"run.name=run", split});
      FAIL() << split;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kConfig) << error.what();
      EXPECT_NE(std::string(error.what()).find("split"), std::string::npos) << error.what();
    }
    EXPECT_FALSE(files_->exists(run_directory())) << split;
  }
}

/// One parameter; the loss is finite, its gradient is not: the root of zero.
class RootOfZero : public Model {
 public:
  explicit RootOfZero(const ModelContext& context) : outputs_(context.outputs) {
    weight_ = module_.register_parameter("weight", torch::zeros({1}));
  }
  torch::nn::Module& module() override { return module_; }
  at::Tensor forward(const ModelBatch& batch) override {
    const auto rows = static_cast<std::int64_t>(batch.rows());
    return weight_.sqrt().expand({rows, outputs_});
  }

 private:
  torch::nn::Module module_;
  torch::Tensor weight_;
  std::int64_t outputs_;
};

const bool kRegistered =
    models().add("root of zero", {{},
                                  [](const ModelContext& context) -> std::unique_ptr<Model> {
                                    return std::make_unique<RootOfZero>(context);
                                  },
                                  "the root of zero"});

TEST_F(Training, GradientsThatAreNotFiniteAreNeverApplied) {
  model_ = "{name: root of zero}";
  try {
    run(2, {"run.name=run"});
    FAIL() << "the gradients were applied";
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
    EXPECT_NE(error.message().find("its gradients are not"), std::string::npos) << error.what();
  }
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

/// One of the features becomes a second label.
void make_second_label(const std::filesystem::path& data) {
  std::string text = testing::read_file(data / "contract.yaml");
  const std::string feature = "  x3: {dtype: float32, range: [0, 1]}";
  ASSERT_NE(text.find(feature), std::string::npos);
  text.replace(text.find(feature), feature.size(), "  x3: {dtype: float32, range: [0, 1], role: label}");
  testing::write_file(data / "contract.yaml", text);
  ValidateOptions options;
  options.directory = data;
  ASSERT_TRUE(validate(options).faults.empty());
}

TEST_F(Training, SeveralTargetsStopResumeAndAreMeasuredEach) {
  make_second_label(data());
  const TrainResult undisturbed = run(2, {"run.name=undisturbed"});
  run(2, {"run.name=run"}, 20);
  const TrainResult resumed = run(3, {"run.name=run"});
  EXPECT_EQ(resumed.outcome, TrainOutcome::kFinished);
  EXPECT_EQ(resumed.running_digest, undisturbed.running_digest);
  const Json& metrics = undisturbed.metrics.at("validation");
  ASSERT_EQ(metrics.at("targets").size(), 2U);
  for (const char* target : {"target", "x3"}) {
    EXPECT_EQ(metrics.at("targets").at(target).at("rows"), metrics.at("rows"));
    EXPECT_TRUE(metrics.at("targets").at(target).at("rmse").is_number_float());
  }
  EXPECT_LT(metrics.at("targets").at("target").at("rmse").get<double>(), 4.5) << "it learns";
  const double mean = (metrics.at("targets").at("target").at("loss").get<double>() +
                       metrics.at("targets").at("x3").at("loss").get<double>()) /
                      2;
  EXPECT_NEAR(metrics.at("loss").get<double>(), mean, 1e-12);
  const Json best = read_events(*files_, run_directory() / "events.jsonl").back().at("best");
  EXPECT_EQ(best.at("metric"), "loss");
  try {
    run(2, {"run.name=run", "data.labels=[target]"});
    FAIL() << "another run went on";
  } catch (const AgreedError& error) {
    EXPECT_NE(error.message().find("data.labels was []"), std::string::npos) << error.what();
  }
}

TEST_F(Training, OneChosenLabelIsAsIfTheOtherWereNot) {
  make_second_label(data());
  const Json metrics = run(2, {"run.name=run", "data.labels=[target]"}).metrics.at("validation");
  EXPECT_FALSE(metrics.contains("targets"));
  EXPECT_TRUE(metrics.at("rmse").is_number_float());
}

TEST_F(Training, WhatCannotBeLearntOfSeveralLabelsIsOneLineBeforeTheFirstStep) {
  make_second_label(data());
  const std::pair<const char*, const char*> cases[] = {
      {"loss.kind=cross_entropy", "takes one label, here are 2: x3, target; `data.labels: [x3]` chooses one"},
      {"loss.kind=binary", "`allowed: [0, 1]` in the contract: 'x3' has not"},
      {"evaluate.best_by=rmse", "which each of 2 targets has in its own unit: only `loss`"},
      {"data.labels=[tarlet]", "no field with `role: label` (did you mean 'target'?)"},
      {"data.labels=[x3, x3]", "'x3' is named twice"}};
  for (const auto& [key, part] : cases) {
    try {
      run(2, {"run.name=run", key});
      FAIL() << key;
    } catch (const AgreedError& error) {
      EXPECT_EQ(error.code(), ErrorCode::kConfig) << error.what();
      EXPECT_NE(error.message().find(part), std::string::npos) << error.what();
      EXPECT_EQ(error.message().find('\n'), std::string::npos);
    }
    EXPECT_FALSE(files_->exists(run_directory())) << key;
  }
}

TEST_F(Training, AllRanksTakeTheThreadsOfTheFullestHost) {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  if (cores < 2) GTEST_SKIP() << "one core: every host is as full as any other";
  Json environment;
  run_local(3, [&](Communicator& comm) {
    TrainOptions options(config({"run.name=run", "train.threads=~", "train.epochs=1"}));
    options.ranks_on_host = comm.rank() == 1 ? static_cast<int>(cores) : 1;  // rank 1's host: one core a rank
    train(comm, *files_, options);
  });
  for (const Json& event : read_events(*files_, run_directory() / "events.jsonl")) {
    if (event.at("event") == "run_started") environment = event.at("environment");
  }
  EXPECT_EQ(environment.at("threads"), 1);
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
