// Trainings that start from weights, and leave some as they are.

#include "tests/trainer/training_case.h"

namespace muster::testing {
namespace {

using TrainingInit = Training;

std::map<std::string, TensorBlob> weights(FileSystem& files, const std::filesystem::path& run,
                                          const std::string& checkpoint) {
  std::map<std::string, TensorBlob> by_name;
  const CheckpointContent content = load_checkpoint(files, run / "checkpoints" / checkpoint).value();
  for (const TensorBlob& blob : content.model) by_name[blob.name] = blob;
  return by_name;
}

std::vector<std::string> with(const std::vector<std::string>& more) {
  std::vector<std::string> all{"train.epochs=~", "train.steps=10", "evaluate.split=''"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST_F(TrainingInit, StartsFromACheckpointAndTrainsOnlyWhatIsNotFrozen) {
  const auto first = run(1, with({"run.name=first"}));
  const auto source = weights(*files_, scratch_ / "runs" / "first", first.checkpoint);
  const std::string from = "model.init_from=" + (scratch_ / "runs" / "first").string();
  for (const int world : {1, 3}) {
    const std::string name = "tuned-" + std::to_string(world);
    const auto tuned =
        run(world, with({"run.name=" + name, "run.seed=2", from, "model.frozen=['hidden_0.*']"}));
    const auto directory = scratch_ / "runs" / name;
    const auto start = weights(*files_, directory, "g0001-step-00000000");
    EXPECT_EQ(start, source) << "whatever the seed";
    const auto end = weights(*files_, directory, tuned.checkpoint);
    std::size_t frozen = 0;
    for (const auto& [tensor, blob] : end) {
      const bool is_frozen = tensor.starts_with("hidden_0.");
      frozen += is_frozen;
      EXPECT_EQ(blob == source.at(tensor), is_frozen) << tensor;
    }
    EXPECT_GT(frozen, 0U);
    EXPECT_LT(frozen, end.size());

    const Json began = read_events(*files_, directory / "events.jsonl").front();
    EXPECT_EQ(began.at("event"), "run_started");
    EXPECT_LT(began.at("trainable_parameters"), began.at("parameters"));
    EXPECT_EQ(began.at("init").at("taken"), source.size());
    EXPECT_TRUE(began.at("init").at("from").get<std::string>().ends_with(first.checkpoint));
    EXPECT_TRUE(began.at("init").at("inputs_differ").empty());
  }
}

TEST_F(TrainingInit, ResumesWithoutTheFileItBeganWith) {
  run(1, with({"run.name=first"}));
  const std::string from = "model.init_from=" + (scratch_ / "runs" / "first").string();
  const auto whole = run(2, with({"run.name=whole", from, "model.frozen=[output.bias]"}));
  const std::vector<std::string> same = with({"run.name=cut", from, "model.frozen=[output.bias]"});
  EXPECT_EQ(run(2, same, 4).outcome, TrainOutcome::kStopped);
  std::filesystem::remove_all(scratch_ / "runs" / "first");
  const auto cut = run(2, same);
  EXPECT_EQ(cut.running_digest, whole.running_digest);
  const auto directory = [&](const char* name) { return scratch_ / "runs" / name; };
  EXPECT_EQ(weights(*files_, directory("cut"), cut.checkpoint),
            weights(*files_, directory("whole"), whole.checkpoint));
  const auto state =
      load_checkpoint(*files_, directory("cut") / "checkpoints" / cut.checkpoint).value().state;
  EXPECT_TRUE(state.at("init").at("from").get<std::string>().find("first") != std::string::npos);
  // Other weights, or others trained, are another run.
  EXPECT_THROW(run(2, with({"run.name=cut", from, "train.steps=20"}), 0, {"train.steps"}), AgreedError);
}

TEST_F(TrainingInit, SaysWhatTheWeightsSawOtherwise) {
  run(1, with({"run.name=first"}));
  make_data("tabular", 2000, 9);
  run(1, with({"run.name=second", "model.init_from=" + (scratch_ / "runs" / "first").string()}));
  const Json began = read_events(*files_, scratch_ / "runs" / "second" / "events.jsonl").front();
  EXPECT_FALSE(began.at("init").at("inputs_differ").empty());
}

TEST_F(TrainingInit, AllRanksKnowOfWeightsThatDoNotFit) {
  run(1, with({"run.name=first"}));
  const std::string from = "model.init_from=" + (scratch_ / "runs" / "first").string();
  for (const auto& wrong : {std::vector<std::string>{from, "model.hidden=[9]"},
                            std::vector<std::string>{"model.init_from=/nowhere"},
                            std::vector<std::string>{"model.frozen=[nothing]"}}) {
    EXPECT_THROW(run(3, with(wrong)), AgreedError);
    EXPECT_FALSE(files_->exists(run_directory())) << "nothing was begun";
  }
}

}  // namespace
}  // namespace muster::testing
