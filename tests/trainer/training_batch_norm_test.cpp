// Trainings of a model with batch norms: the same on any number of ranks, resumed, and with bad rows.

#include <torch/torch.h>

#include <cmath>

#include "tests/trainer/training_case.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/module_tensors.h"

namespace muster::testing {
namespace {

class TrainingBatchNorm : public Training {
 protected:
  void SetUp() override { make_data("images", 150); }

  std::vector<std::string> overrides(const std::string& norm) const {
    return {"loss.kind=cross_entropy", "batch.size=32",      "batch.lanes=4",
            "train.epochs=1",          "optimizer.name=sgd", "model.norm=" + norm};
  }
  std::vector<double> losses() const {
    std::vector<double> found;
    for (const Json& event : read_events(*files_, run_directory() / "events.jsonl")) {
      if (event.at("event") == "step") found.push_back(event.at("loss").get<double>());
    }
    return found;
  }
  at::Tensor weight(const std::string& checkpoint, const std::string& name) const {
    const CheckpointContent content =
        load_checkpoint(*files_, run_directory() / "checkpoints" / checkpoint).value();
    for (const TensorBlob& blob : content.model) {
      if (blob.name == name) return to_tensor(blob);
    }
    ADD_FAILURE() << "no " << name;
    return {};
  }
};

TEST_F(TrainingBatchNorm, TheNumberOfRanksChangesNothing) {
  model_ = "{name: resnet, width: 4}";
  for (const char* norm : {"batch", "batch_sync"}) {
    std::filesystem::remove_all(run_directory());
    const TrainResult alone = run(1, overrides(norm));
    const std::vector<double> expected = losses();
    const at::Tensor mean = weight(alone.checkpoint, "layer2.0.bn1.running_mean");
    EXPECT_GT(mean.abs().sum().item<float>(), 0);
    EXPECT_EQ(weight(alone.checkpoint, "bn1.num_batches_tracked").item<std::int64_t>(),
              static_cast<std::int64_t>(expected.size()));
    for (const int world : {2, 3, 4}) {
      std::filesystem::remove_all(run_directory());
      const TrainResult result = run(world, overrides(norm));
      ASSERT_EQ(losses().size(), expected.size());
      for (std::size_t step = 0; step < expected.size(); ++step)
        EXPECT_NEAR(losses()[step], expected[step], 1e-3 * expected[step])
            << norm << " " << world << " " << step;
      EXPECT_TRUE(at::allclose(weight(result.checkpoint, "layer2.0.bn1.running_mean"), mean, 1e-3, 1e-3));
    }
  }
}

TEST_F(TrainingBatchNorm, AResumedRunHasTheSameBits) {
  model_ = "{name: resnet, width: 4}";
  for (const char* norm : {"batch", "batch_sync"}) {
    std::filesystem::remove_all(run_directory());
    const TrainResult whole = run(2, overrides(norm));
    const at::Tensor expected = weight(whole.checkpoint, "layer4.1.bn2.running_var");
    std::filesystem::remove_all(run_directory());
    run(2, overrides(norm), 2);
    const TrainResult resumed = run(2, overrides(norm));
    EXPECT_TRUE(at::equal(weight(resumed.checkpoint, "layer4.1.bn2.running_var"), expected)) << norm;
  }
}

TEST_F(TrainingBatchNorm, MicroBatchesKeepLanesWhole) {
  model_ = "{name: resnet, width: 4}";
  std::vector<std::string> settings = overrides("batch");
  run(2, settings);
  const std::vector<double> expected = losses();
  settings.emplace_back("train.micro_batch=9");
  std::filesystem::remove_all(run_directory());
  run(2, settings);
  for (std::size_t step = 0; step < expected.size(); ++step)
    EXPECT_NEAR(losses()[step], expected[step], 1e-3 * expected[step]) << step;
  settings.back() = "train.micro_batch=7";
  EXPECT_THROW(run(2, settings), Error);
  settings = overrides("batch_sync");
  settings.emplace_back("train.micro_batch=15");
  EXPECT_THROW(run(2, settings), Error);
}

TEST_F(TrainingBatchNorm, LanesOfOneValueAreTold) {
  model_ = "{name: resnet, width: 4, stem: large}";  // a 14 by 14 image ends as one pixel
  std::vector<std::string> settings = overrides("batch");
  settings[1] = "batch.size=4";
  settings[3] = "train.epochs=1";
  settings.emplace_back("evaluate.split=''");
  run(2, settings);
  const auto events = event_names();
  EXPECT_NE(std::ranges::find(events, "batch_norm_without_rows"), events.end());
}

}  // namespace
}  // namespace muster::testing
