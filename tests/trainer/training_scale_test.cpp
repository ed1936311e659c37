// What the gradients are divided by, whatever the rows of a step weigh and however they are cut up.

#include <torch/torch.h>

#include <iostream>

#include "models/model.h"
#include "tests/trainer/training_case.h"

namespace muster::testing {
namespace {

/// Its loss is its only parameter, for each unit of weight: the gradient of a step is 1, if it was divided by
/// the step's whole weight and by nothing else.
class UnitGradient : public Model {
 public:
  UnitGradient() { net_->register_parameter("p", at::zeros({1})); }
  torch::nn::Module& module() override { return *net_; }
  at::Tensor forward(const ModelBatch& batch) override {
    return net_->named_parameters()["p"].expand({batch.rows()});
  }
  at::Tensor loss(const at::Tensor& scores, const ModelBatch& batch, const LossSettings&) override {
    const at::Tensor weights = batch.weights().to(at::kDouble) * 0.7;
    return at::stack({(scores.to(at::kDouble) * weights).sum(), weights.sum()});
  }

 private:
  std::shared_ptr<torch::nn::Module> net_ = std::make_shared<torch::nn::Module>();
};

ModelFactory unit_gradient() {
  ModelFactory factory;
  factory.make = [](const ModelContext&) { return std::make_unique<UnitGradient>(); };
  factory.help = "for a test";
  return factory;
}

const bool kRegistered = models().add("unit_gradient", unit_gradient());

class TrainingScale : public Training {
 protected:
  TrainingScale() { model_ = "{name: unit_gradient}"; }
  std::vector<double> norms() const {
    std::vector<double> found;
    for (const Json& event : read_events(*files_, run_directory() / "events.jsonl")) {
      if (event.at("event") == "step") found.push_back(event.at("gradient_norm").get<double>());
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

}  // namespace
}  // namespace muster::testing
