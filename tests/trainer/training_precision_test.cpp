// Trainings whose forward pass computes in bfloat16, over weights that stay float32.

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include <algorithm>

#include "models/model.h"
#include "tests/trainer/training_case.h"
#include "trainer/gradients/precision.h"

namespace muster::testing {
namespace {

/// A product of a row with a weight; tells how it was computed.
class Product : public Model {
 public:
  Product() { net_->register_parameter("weight", at::full({8, 1}, 0.1F)); }
  torch::nn::Module& module() override { return *net_; }
  at::Tensor forward(const ModelBatch& batch) override {
    const at::Tensor product = at::mm(batch.get("x"), net_->named_parameters()["weight"]);
    computed_in = product.scalar_type();
    if (throws) fail(ErrorCode::kBug, "thrown inside");
    return product.squeeze(1);
  }
  at::ScalarType computed_in = at::kInt;
  bool throws = false;

 private:
  std::shared_ptr<torch::nn::Module> net_ = std::make_shared<torch::nn::Module>();
};

TEST(PrecisionTest, ProductsAreInFewerBitsAndAllElseIsNot) {
  Batch batch({{"x", TensorSpec::Kind::kFloat32, {8}}}, 3, aligned_allocator());
  batch.set_rows(3);
  std::fill_n(batch.floats(0), 24, 1.001F);
  for (const bool low : {false, true}) {
    auto made = std::make_unique<Product>();
    Product& product = *made;
    const auto model = with_precision(std::move(made), low ? "bfloat16" : "float32");
    const ModelBatch inputs(batch, 0, 3, true, 1);
    const at::Tensor scores = model->forward(inputs);
    EXPECT_EQ(product.computed_in, low ? at::kBFloat16 : at::kFloat);
    EXPECT_EQ(scores.scalar_type(), at::kFloat);
    EXPECT_NEAR(scores[0].item<double>(), 0.8008, low ? 0.01 : 1e-5);
    scores.sum().backward();
    const at::Tensor weight = model->module().named_parameters()["weight"];
    EXPECT_EQ(weight.scalar_type(), at::kFloat);
    EXPECT_EQ(weight.grad().scalar_type(), at::kFloat);
    product.throws = true;
    EXPECT_THROW(model->forward(inputs), Error);
    EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
    product.throws = false;
    // New weights are seen: their casts do not outlive the forward pass.
    torch::NoGradGuard no_grad;
    weight.mul_(2);
    EXPECT_NEAR(model->forward(inputs)[0].item<double>(), 1.6016, low ? 0.02 : 1e-5);
  }
}

using TrainingPrecision = Training;

TEST_F(TrainingPrecision, LearnsAsWellAndResumesToTheSameBits) {
  const std::vector<std::string> low{"train.precision=bfloat16", "run.name=low"};
  const double high_loss = run(2, {"run.name=high"}).metrics.at("validation").at("loss").get<double>();
  const TrainResult whole = run(2, low);
  const double low_loss = whole.metrics.at("validation").at("loss").get<double>();
  EXPECT_NE(low_loss, high_loss);
  EXPECT_NEAR(low_loss, high_loss, 0.05 * high_loss);

  std::vector<std::string> cut = low;
  cut.back() = "run.name=cut";
  run(2, cut, 20);
  const TrainResult resumed = run(2, cut);
  EXPECT_EQ(resumed.metrics, whole.metrics);
  EXPECT_EQ(resumed.running_digest, whole.running_digest);
}

TEST_F(TrainingPrecision, AnotherPrecisionOnResumeNeedsLeave) {
  run(2, {"run.name=run"}, 20);
  EXPECT_THROW(run(2, {"run.name=run", "train.precision=bfloat16"}), Error);
  EXPECT_EQ(run(2, {"run.name=run", "train.precision=bfloat16"}, 0, {"train.precision"}).outcome,
            TrainOutcome::kFinished);
}

}  // namespace
}  // namespace muster::testing
