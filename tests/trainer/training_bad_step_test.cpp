// A training whose loss is no number at one step, or in one of its starts.
#include <torch/torch.h>

#include <atomic>
#include <limits>

#include "models/model.h"
#include "tests/trainer/training_case.h"

namespace muster {
namespace {

using testing::Training;

/// Which training step of this process's models gives a loss of this; 0: none. One test at a time.
struct Spoil {
  std::uint64_t step = 0;
  double value = 0;
};
Spoil& spoil() {
  static Spoil now;
  return now;
}

/// The training step in which one rank's weights get another bit; 0: none. Whichever rank is first.
std::atomic<std::uint64_t>& flip_in_step() {
  static std::atomic<std::uint64_t> step{0};
  return step;
}

/// One weight for all features. In its Nth training step it says what it is told to.
class Spoiled : public Model {
 public:
  explicit Spoiled(const ModelContext& context) : outputs_(context.outputs) {
    weight_ = module_.register_parameter("weight", torch::zeros({1}));
    forwards_ = module_.register_buffer("forwards", torch::zeros({1}));
  }
  torch::nn::Module& module() override { return module_; }
  at::Tensor forward(const ModelBatch& batch) override {
    const at::Tensor out = weight_.expand({static_cast<std::int64_t>(batch.rows()), outputs_});
    if (module_.is_training() && steps_ > 0 && steps_ + 1 == flip_in_step() &&
        flip_in_step().exchange(0) != 0) {
      const torch::NoGradGuard no_grad;
      weight_.add_(1e-6);
    }
    if (module_.is_training()) forwards_.add_(1);
    if (!module_.is_training() || ++steps_ != spoil().step) return out;
    return out * spoil().value;
  }

 private:
  torch::nn::Module module_;
  torch::Tensor weight_;
  torch::Tensor forwards_;  ///< training steps that count
  std::int64_t outputs_;
  std::uint64_t steps_ = 0;
};

const bool kRegistered = models().add("spoiled", {{},
                                                  [](const ModelContext& context) -> std::unique_ptr<Model> {
                                                    return std::make_unique<Spoiled>(context);
                                                  },
                                                  "one weight"});

class BadStep : public Training {
 protected:
  BadStep() { model_ = "{name: spoiled}"; }
  void TearDown() override {
    spoil() = {};
    flip_in_step() = 0;
  }

  std::vector<std::string> with(const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"run.name=run",
                                    "train.epochs=~",
                                    "train.steps=120",
                                    "evaluate.split=''",
                                    "optimizer.name=sgd",
                                    "optimizer.learning_rate=0.01",
                                    "checkpoint.every_steps=20"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::vector<Json> events(const std::string& name) const {
    std::vector<Json> found;
    for (const Json& event : read_events(*files_, run_directory() / "events.jsonl")) {
      if (event.at("event") == name) found.push_back(event);
    }
    return found;
  }
  std::vector<TensorBlob> weights() const {
    CheckpointStore store(*files_, run_directory() / "checkpoints", "");
    return load_checkpoint(*files_, store.latest_good().checkpoint->directory).value().model;
  }
};

TEST_F(BadStep, IsTheEndUnlessSomethingElseIsWanted) {
  spoil() = {30, std::numeric_limits<double>::quiet_NaN()};
  try {
    run(2, with({}));
    FAIL() << "it went on";
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
    EXPECT_NE(error.message().find("step 29: the loss is not finite on rank 0 of 2"), std::string::npos)
        << error.what();
  }
}

TEST_F(BadStep, ItsUpdateIsLeftOutAndTheRunGoesOn) {
  const TrainResult undisturbed = run(2, with({"run.name=undisturbed"}));
  spoil() = {30, std::numeric_limits<double>::quiet_NaN()};
  const TrainResult result = run(2, with({"train.on_bad_step=skip"}));
  EXPECT_EQ(result.outcome, TrainOutcome::kFinished);
  EXPECT_EQ(result.running_digest, undisturbed.running_digest) << "its rows count as used";
  const auto skipped = events("step_skipped");
  ASSERT_EQ(skipped.size(), 1U);
  EXPECT_EQ(skipped[0].at("step"), 29);
  EXPECT_EQ(events("step").at(29).at("loss"), "NaN");
  EXPECT_EQ(events("step").size(), 120U);
  for (const TensorBlob& blob : weights()) {
    if (blob.name != "forwards") continue;
    float forwards = 0;
    std::memcpy(&forwards, blob.data.data(), sizeof forwards);
    EXPECT_EQ(forwards, 119) << "nor does the forward pass leave a trace in the buffers";
  }
}

TEST_F(BadStep, OneTooManyEndsTheRun) {
  spoil() = {30, std::numeric_limits<double>::quiet_NaN()};
  try {
    run(1, with({"train.on_bad_step=skip", "train.most_bad_steps=0"}));
    FAIL() << "it went on";
  } catch (const AgreedError& error) {
    EXPECT_NE(error.message().find("(bad step number 1, train.most_bad_steps is 0)"), std::string::npos)
        << error.what();
  }
}

TEST_F(BadStep, ASpikeIsGoneBackForAndLeftOutTheSecondTime) {
  for (const int world : {1, 3}) {
    spoil() = {90, 1e6};
    const TrainResult undisturbed = run(world, with({fmt::format("run.name=undisturbed-{}", world)}));
    const TrainResult result =
        run(world, with({"train.on_bad_step=rollback", "train.spike_factor=20", "run.name=run",
                         fmt::format("run.dir={}", (scratch_ / std::to_string(world)).string())}));
    EXPECT_EQ(result.outcome, TrainOutcome::kFinished);
    EXPECT_EQ(result.running_digest, undisturbed.running_digest);
    const std::filesystem::path events_file = std::filesystem::path(result.directory) / "events.jsonl";
    std::vector<std::uint64_t> steps;
    int rolled_back = 0;
    for (const Json& event : read_events(*files_, events_file)) {
      if (event.at("event") == "step") steps.push_back(event.at("step"));
      if (event.at("event") != "rolled_back") continue;
      ++rolled_back;
      EXPECT_EQ(event.at("step"), 80);
      EXPECT_EQ(event.at("from_step"), 89);
    }
    EXPECT_EQ(rolled_back, 1);
    const auto plan_of = [&](const TrainResult& of) {
      return verify_checkpoint(*files_, std::filesystem::path(of.directory) / "checkpoints" / of.checkpoint)
          .value()
          .manifest.at("state")
          .at("bucket_plan");
    };
    EXPECT_EQ(plan_of(result), plan_of(undisturbed)) << "gradients are still noticed as they come";
    ASSERT_EQ(steps.size(), 120U) << "each step once, for who reads as told";
    for (std::uint64_t i = 0; i < steps.size(); ++i) EXPECT_EQ(steps[i], i + 1);
  }
}

TEST_F(BadStep, TheAverageOfTheWeightsGoesBackToo) {
  const auto averaged = [&](const char* policy) {
    spoil() = {90, 1e6};
    const TrainResult result =
        run(2, with({"train.spike_factor=20", "train.ema_decay=0.9",
                     "train.on_bad_step=" + std::string(policy), "run.name=" + std::string(policy)}));
    return load_checkpoint(*files_,
                           std::filesystem::path(result.directory) / "checkpoints" / result.checkpoint)
        .value();
  };
  const CheckpointContent skipped = averaged("skip");
  const CheckpointContent gone_back = averaged("rollback");
  const auto without_buffers = [](std::vector<TensorBlob> blobs) {
    std::erase_if(blobs, [](const TensorBlob& blob) { return blob.name == "forwards"; });
    return blobs;
  };
  EXPECT_EQ(without_buffers(gone_back.model), without_buffers(skipped.model));
  EXPECT_EQ(gone_back.optimizer, skipped.optimizer);
  ASSERT_FALSE(gone_back.optimizer.empty());
  EXPECT_NE(gone_back.optimizer.front().data, gone_back.model.front().data)
      << "trained weights are no averages";
}

TEST_F(BadStep, AStoppedAndResumedRunJudgesAsTheUndisturbedOne) {
  const std::vector<std::string> careful = {"train.on_bad_step=skip", "train.spike_factor=1.05",
                                            "train.most_bad_steps=100"};
  std::vector<std::string> whole = with(careful);
  whole.emplace_back("run.name=whole");
  const TrainResult undisturbed = run(1, whole);
  EXPECT_EQ(run(1, with(careful), 61).outcome, TrainOutcome::kStopped);
  const TrainResult resumed = run(1, with(careful));
  EXPECT_EQ(resumed.running_digest, undisturbed.running_digest);
  CheckpointStore store(*files_, scratch_ / "runs" / "whole" / "checkpoints", "");
  const auto reference = load_checkpoint(*files_, store.latest_good().checkpoint->directory).value();
  EXPECT_EQ(weights(), reference.model);
  EXPECT_GT(reference.state.at("bad_steps").at("good_steps").get<int>(), 50);
}

TEST_F(BadStep, ARankWhoseWeightsAreOffByABitIsNamedBeforeTheyAreInACheckpoint) {
  flip_in_step() = 33;
  try {
    run(3, with({"train.compare_every_steps=0"}));
    FAIL() << "nobody noticed";
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBug);
    EXPECT_NE(error.message().find("step 40: the weights of rank "), std::string::npos) << error.what();
    EXPECT_NE(error.message().find("differ from those of the other ranks"), std::string::npos)
        << error.what();
  }
  CheckpointStore store(*files_, run_directory() / "checkpoints", "");
  EXPECT_EQ(store.latest_good().checkpoint->step, 20U);
  flip_in_step() = 33;
  try {
    run(3, with({"train.compare_every_steps=5", "run.name=often"}));
    FAIL() << "nobody noticed";
  } catch (const AgreedError& error) {
    EXPECT_NE(error.message().find("step 35: the weights of rank "), std::string::npos) << error.what();
  }
}

TEST_F(BadStep, AStopFileEndsTheRunAtTheNextStep) {
  std::filesystem::create_directories(run_directory());
  files_->create(run_directory() / "STOP");
  const TrainResult stopped = run(2, with({}));
  EXPECT_EQ(stopped.outcome, TrainOutcome::kStopped);
  EXPECT_EQ(stopped.stop_reason, "stop file");
  EXPECT_EQ(events("stopped").at(0).at("reason"), "stop file");
  EXPECT_EQ(events("stopped").at(0).at("step"), 1);
  EXPECT_FALSE(files_->exists(run_directory() / "STOP"));
  EXPECT_EQ(run(2, with({})).outcome, TrainOutcome::kFinished);
}

TEST_F(BadStep, TheWallTimeIsMetWithACheckpoint) {
  const TrainResult stopped = run(2, with({"train.wall_seconds=5"}));
  EXPECT_EQ(stopped.outcome, TrainOutcome::kStopped);
  EXPECT_EQ(stopped.stop_reason, "wall time");
  EXPECT_FALSE(stopped.checkpoint.empty());
}

}  // namespace
}  // namespace muster
