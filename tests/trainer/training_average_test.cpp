// Trainings that keep a moving average of the weights.

#include <torch/torch.h>

#include "tests/trainer/training_case.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/module_tensors.h"

namespace muster::testing {
namespace {

class TrainingAverage : public Training {
 protected:
  TrainingAverage() {
    adjust_ = [this](TrainOptions& options, int rank) {
      if (rank != 0) return;
      options.before_step = [this](std::uint64_t, torch::nn::Module& model) {
        seen_.push_back(model.named_parameters().front().value().detach().clone().to(at::kDouble));
      };
    };
  }

  CheckpointContent content(const TrainResult& result) const {
    return load_checkpoint(*files_, run_directory() / "checkpoints" / result.checkpoint).value();
  }
  static at::Tensor tensor(const std::vector<TensorBlob>& blobs, const std::string& name) {
    for (const TensorBlob& blob : blobs) {
      if (blob.name == name) return to_tensor(blob).to(at::kDouble);
    }
    ADD_FAILURE() << "there is no " << name;
    return {};
  }

  std::vector<at::Tensor> seen_;  ///< the first weight before each step, on rank 0
};

TEST_F(TrainingAverage, ACheckpointsModelIsTheAverageOfAllWeights) {
  const TrainResult result =
      run(2, {"train.ema_decay=0.8", "optimizer.name=sgd", "optimizer.learning_rate=0.05"});
  const CheckpointContent written = content(result);
  const std::string name = written.model.front().name;
  const at::Tensor last = tensor(written.optimizer, name + ".trained");
  std::vector<at::Tensor> weights(seen_.begin() + 1, seen_.end());
  weights.push_back(last);
  at::Tensor average = seen_.front();
  double step = 0;
  for (const at::Tensor& after : weights) {
    ++step;
    const double decay = std::min(0.8, (1 + step) / (10 + step));
    average = decay * average + (1 - decay) * after;
  }
  EXPECT_TRUE(at::allclose(tensor(written.model, name), average, 1e-5, 1e-6));
  EXPECT_FALSE(at::allclose(last, average, 1e-4, 1e-4));
}

TEST_F(TrainingAverage, OnlyWhatIsMeasuredChanges) {
  const TrainResult without = run(2, {"run.name=without"});
  const std::vector<at::Tensor> plain = std::exchange(seen_, {});
  const TrainResult with = run(2, {"train.ema_decay=0.95"});
  ASSERT_EQ(plain.size(), seen_.size());
  for (std::size_t step = 0; step < plain.size(); ++step)
    ASSERT_TRUE(at::equal(plain[step], seen_[step])) << step;
  EXPECT_NE(with.metrics.dump(), without.metrics.dump());
}

TEST_F(TrainingAverage, AResumedRunHasTheSameBits) {
  const std::vector<std::string> overrides{"train.ema_decay=0.9"};
  const TrainResult whole = run(2, overrides);
  const CheckpointContent expected = content(whole);
  std::filesystem::remove_all(run_directory());
  run(2, overrides, 31);
  const CheckpointContent resumed = content(run(2, overrides));
  ASSERT_EQ(resumed.model.size(), expected.model.size());
  for (std::size_t i = 0; i < expected.model.size(); ++i)
    EXPECT_EQ(resumed.model[i].data, expected.model[i].data) << expected.model[i].name;
  for (const TensorBlob& blob : expected.optimizer)
    EXPECT_TRUE(at::equal(tensor(resumed.optimizer, blob.name), tensor(expected.optimizer, blob.name)))
        << blob.name;
}

TEST_F(TrainingAverage, SwitchedOffItGoesOnWithTheTrainedWeights) {
  const TrainResult stopped = run(2, {"train.ema_decay=0.9"}, 31);
  const CheckpointContent written = content(stopped);
  const std::string name = written.model.front().name;
  seen_.clear();
  run(2, {"train.ema_decay=0"}, 0, {"train.ema_decay"});
  ASSERT_FALSE(seen_.empty());
  EXPECT_TRUE(at::equal(seen_.front(), tensor(written.optimizer, name + ".trained")));
}

TEST_F(TrainingAverage, SwitchedOnItStartsWithTheWeightsThatThereAre) {
  run(2, {}, 31);
  const TrainResult result = run(2, {"train.ema_decay=0.9"}, 0, {"train.ema_decay"});
  const CheckpointContent written = content(result);
  EXPECT_FALSE(at::equal(tensor(written.model, written.model.front().name),
                         tensor(written.optimizer, written.model.front().name + ".trained")));
}

}  // namespace
}  // namespace muster::testing
