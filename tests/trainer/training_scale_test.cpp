// What the gradients are divided by, whatever the rows of a step weigh and however they are cut up.

#include <torch/torch.h>

#include <cstring>
#include <iostream>
#include <limits>

#include "models/model.h"
#include "tests/trainer/training_case.h"
#include "trainer/checkpoint/checkpoint_reader.h"

namespace muster::testing {
namespace {

/// Its loss is its only parameter, for each unit of weight: the gradient of a step is 1, if it was divided by
/// the step's whole weight and by nothing else.
class UnitGradient : public Model {
 public:
  explicit UnitGradient(double size = 1) : size_(size) { net_->register_parameter("p", at::zeros({1})); }
  torch::nn::Module& module() override { return *net_; }
  at::Tensor forward(const ModelBatch& batch) override {
    return net_->named_parameters()["p"].expand({batch.rows()});
  }
  at::Tensor loss(const at::Tensor& scores, const ModelBatch& batch, const LossSettings&) override {
    const at::Tensor weights = batch.weights().to(at::kDouble) * 0.7;
    return at::stack({(scores.to(at::kDouble) * weights).sum() * size_, weights.sum()});
  }

 private:
  double size_;
  std::shared_ptr<torch::nn::Module> net_ = std::make_shared<torch::nn::Module>();
};

ModelFactory unit_gradient() {
  ModelFactory factory;
  factory.make = [](const ModelContext&) { return std::make_unique<UnitGradient>(); };
  factory.help = "for a test";
  return factory;
}

const bool kRegistered = models().add("unit_gradient", unit_gradient());

/// Overflows float32 when scaled by more than 2^11.
ModelFactory huge_gradient() {
  ModelFactory factory;
  factory.make = [](const ModelContext&) { return std::make_unique<UnitGradient>(1e35); };
  factory.help = "for a test";
  return factory;
}

const bool kHugeRegistered = models().add("huge_gradient", huge_gradient());

class TrainingScale : public Training {
 protected:
  TrainingScale() { model_ = "{name: unit_gradient}"; }
  std::vector<double> norms() const {
    std::vector<double> found;
    for (const Json& event : read_events(*files_, run_directory() / "events.jsonl")) {
      if (event.at("event") != "step") continue;
      const Json& norm = event.at("gradient_norm");
      found.push_back(norm.is_number() ? norm.get<double>() : std::numeric_limits<double>::infinity());
    }
    return found;
  }
};

TEST_F(TrainingScale, EveryStepIsDividedByItsOwnWeight) {
  std::size_t uneven = 0;
  for (const int world : {1, 2, 3}) {
    for (const char* micro_batch : {"0", "7"}) {
      std::filesystem::remove_all(run_directory());
      const std::vector<std::string> overrides{"batch.size=48", "optimizer.name=sgd", "evaluate.split=''",
                                               std::string("train.micro_batch=") + micro_batch};
      run(world, overrides, 5);  // and on, with what the checkpoint says
      run(world, overrides);
      const auto plan = read_events(*files_, run_directory() / "events.jsonl").front().at("plan");
      uneven += plan.at("rows").get<std::uint64_t>() % 48 == 0 ? 0 : 1;
      ASSERT_GT(norms().size(), 100U);
      for (const double norm : norms()) EXPECT_NEAR(norm, 1, 1e-6) << world << " ranks, " << micro_batch;
    }
  }
  std::cout << uneven << " of 6 with an uneven last step\n";
  EXPECT_EQ(uneven, 6U);
}

TEST_F(TrainingScale, AScaledLossIsTheSameTraining) {
  const std::vector<std::string> plain{"optimizer.name=sgd", "evaluate.split=''"};
  model_ = "{name: mlp, hidden: [8]}";
  run(2, plain);
  const std::vector<double> expected = norms();
  std::filesystem::remove_all(run_directory());
  std::vector<std::string> scaled = plain;
  scaled.emplace_back("train.loss_scale=1024");
  run(2, scaled, 20);
  run(2, scaled);
  EXPECT_EQ(norms(), expected);  // a power of two changes no bit
}

TEST_F(TrainingScale, AnOverflowHalvesTheScaleAndLeavesTheStepOut) {
  model_ = "{name: huge_gradient}";
  const std::vector<std::string> overrides{"optimizer.name=sgd", "evaluate.split=''",
                                           "optimizer.learning_rate=1e-35", "train.loss_scale=65536",
                                           "train.epochs=1"};
  run(2, overrides, 3);  // of five that overflow; what is learnt of them is in the checkpoint
  const TrainResult result = run(2, overrides);
  std::vector<double> scales;
  for (const Json& event : read_events(*files_, run_directory() / "events.jsonl")) {
    if (event.at("event") == "loss_scale_halved") scales.push_back(event.at("loss_scale").get<double>());
  }
  EXPECT_EQ(scales, (std::vector<double>{32768, 16384, 8192, 4096, 2048}));
  const std::vector<double> found = norms();
  for (std::size_t step = 5; step < found.size(); ++step) EXPECT_NEAR(found[step] / 1e35, 1, 1e-5) << step;
  const CheckpointContent content =
      load_checkpoint(*files_, run_directory() / "checkpoints" / result.checkpoint).value();
  float weight = 0;
  std::memcpy(&weight, content.model.front().data.data(), sizeof weight);
  EXPECT_NEAR(weight, -static_cast<double>(found.size() - 5), 1e-3);  // a step of 1 each, five left out
}

}  // namespace
}  // namespace muster::testing
