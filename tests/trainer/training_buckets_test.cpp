// Sizes of gradient buckets that are tried out before a run's first step.

#include <torch/torch.h>

#include "tests/trainer/training_case.h"
#include "trainer/checkpoint/checkpoint_reader.h"

namespace muster::testing {
namespace {

class TrainingBuckets : public Training {
 protected:
  /// Losses and gradient norms of all steps, as they were written.
  std::vector<Json> steps() const {
    std::vector<Json> found;
    for (const Json& event : read_events(*files_, run_directory() / "events.jsonl")) {
      if (event.at("event") == "step")
        found.push_back({event.at("loss"), event.at("gradient_norm"), event.at("digest")});
    }
    return found;
  }
  std::vector<Json> tuned() const {
    std::vector<Json> found;
    for (const Json& event : read_events(*files_, run_directory() / "events.jsonl")) {
      if (event.at("event") == "buckets_tuned") found.push_back(event);
    }
    return found;
  }
  std::vector<TensorBlob> model_of(const TrainResult& result) const {
    return load_checkpoint(*files_, run_directory() / "checkpoints" / result.checkpoint).value().model;
  }
};

TEST_F(TrainingBuckets, TheTrialLeavesNoTraceAndItsSizesAreKept) {
  model_ = "{name: mlp, hidden: [700, 700, 700]}";
  const std::vector<std::string> tried{"train.epochs=1", "train.bucket_bytes=0"};
  const TrainResult given = run(3, {"train.epochs=1"});
  const std::vector<Json> expected = steps();
  const std::vector<TensorBlob> weights = model_of(given);
  EXPECT_TRUE(tuned().empty());
  std::filesystem::remove_all(run_directory());
  run(3, tried, 2);
  const TrainResult resumed = run(3, tried);
  // Ranks that are threads add in rank order: the cut changes no bit.
  EXPECT_EQ(steps(), expected);
  EXPECT_TRUE(model_of(resumed) == weights);
  ASSERT_EQ(tuned().size(), 1);
  const Json event = tuned().front();
  const Json& sizes = event.at("tried");
  EXPECT_EQ(tuned().front().at("step"), 0);
  ASSERT_GE(sizes.size(), 2);
  EXPECT_GT(sizes[0].at("buckets"), sizes[1].at("buckets"));
  bool chosen = false;
  for (const Json& size : sizes) {
    EXPECT_GT(size.at("seconds"), 0);
    chosen = chosen || size.at("bytes") == tuned().front().at("bucket_bytes");
  }
  EXPECT_TRUE(chosen);
}

TEST_F(TrainingBuckets, RunningStatisticsHaveSeenNothingOfIt) {
  make_data("images", 150);
  model_ = "{name: resnet, width: 4, norm: batch}";
  const std::vector<std::string> usual{"loss.kind=cross_entropy", "batch.size=32", "batch.lanes=4",
                                       "train.epochs=1"};
  const std::vector<TensorBlob> expected = model_of(run(2, usual));
  std::filesystem::remove_all(run_directory());
  std::vector<std::string> tried = usual;
  tried.push_back("train.bucket_bytes=0");
  const std::vector<TensorBlob> found = model_of(run(2, tried));
  EXPECT_EQ(tuned().size(), 1);
  EXPECT_TRUE(found == expected);
}

TEST_F(TrainingBuckets, OneRankHasNothingToTry) {
  run(1, {"train.epochs=1", "train.bucket_bytes=0"});
  EXPECT_TRUE(tuned().empty());
}

}  // namespace
}  // namespace muster::testing
