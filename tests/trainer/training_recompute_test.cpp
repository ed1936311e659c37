// Trainings that keep few activations: the weights of those that keep all.

#include "tests/trainer/training_case.h"
#include "trainer/checkpoint/checkpoint_reader.h"

namespace muster::testing {
namespace {

class TrainingRecompute : public Training {
 protected:
  void SetUp() override {
    make_data("tokens", 40000);
    model_ = "{name: gpt, layers: 2, width: 16, heads: 2, dropout: 0.1}";
  }

  /// The last checkpoint's weights.
  std::vector<TensorBlob> weights(std::vector<std::string> overrides, const std::string& name,
                                  std::uint64_t stop_at = 0) {
    for (const std::string& set : {std::string("loss.kind=next_token"), std::string("train.epochs=~"),
                                   std::string("train.steps=12"), std::string("train.micro_batch=20")})
      overrides.push_back(set);
    overrides.push_back("run.name=" + name);
    const TrainResult result = run(2, overrides, stop_at);
    return load_checkpoint(*files_,
                           std::filesystem::path(result.directory) / "checkpoints" / result.checkpoint)
        .value()
        .model;
  }
};

TEST_F(TrainingRecompute, EndsWithTheSameBits) {
  for (const std::string precision : {"float32", "bfloat16"}) {
    const std::string set = "train.precision=" + precision;
    const auto kept = weights({set}, "kept-" + precision);
    const auto again = weights({set, "train.recompute=true"}, "again-" + precision);
    EXPECT_EQ(kept, again) << precision;
    const auto frozen = std::string("model.frozen=[tokens.*, block_0.*]");
    EXPECT_EQ(weights({set, frozen}, "kept-frozen-" + precision),
              weights({set, frozen, "train.recompute=true"}, "again-frozen-" + precision));
  }
}

TEST_F(TrainingRecompute, CanBeginInTheMiddleOfARun) {
  const auto kept = weights({}, "whole");
  weights({}, "cut", 5);
  EXPECT_EQ(weights({"train.recompute=true"}, "cut"), kept);
}

TEST_F(TrainingRecompute, ModelsThatCannotAreRefused) {
  make_data("tabular");
  model_ = "{name: mlp}";
  try {
    run(2, {"train.recompute=true"});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    EXPECT_NE(error.message().find("'mlp' keeps all its activations; models that need not: gpt"),
              std::string::npos)
        << error.message();
  }
}

}  // namespace
}  // namespace muster::testing
