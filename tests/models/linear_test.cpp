// The linear layer against at::linear, and where it writes its gradients.

#include "models/linear.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "core/error.h"
#include "tests/models/random_batch.h"

namespace muster {
namespace {

class LinearTest : public ::testing::Test {
 protected:
  LinearTest() { torch::manual_seed(5); }
  ModelBatch batch(GradientPlaces places = {}) {
    return {tensors_, 0, batch_.rows(), true, 1, {}, std::move(places)};
  }

  Batch batch_{{{"input", TensorSpec::Kind::kFloat32, {3}, {}}}, 2, aligned_allocator()};
  BatchTensors tensors_{batch_};
};

TEST_F(LinearTest, IsAtLinearInAllItsGradients) {
  const torch::nn::Linear layer(7, 5);
  for (const bool bias : {true, false}) {
    for (const auto& sizes : std::vector<std::vector<std::int64_t>>{{4, 7}, {2, 3, 7}}) {
      const at::Tensor x = at::randn(sizes).requires_grad_(true);
      const at::Tensor added = bias ? layer->bias : at::Tensor();
      const at::Tensor ours = linear(x, layer->weight, added, batch());
      const at::Tensor theirs = at::linear(x, layer->weight, added);
      EXPECT_TRUE(at::allclose(ours, theirs, 1e-6, 1e-6));
      std::vector<at::Tensor> inputs{x, layer->weight};
      if (bias) inputs.push_back(layer->bias);
      const at::Tensor up = at::randn(theirs.sizes());
      const auto our_gradients = torch::autograd::grad({ours}, inputs, {up});
      const auto their_gradients = torch::autograd::grad({theirs}, inputs, {up});
      for (std::size_t i = 0; i < inputs.size(); ++i)
        EXPECT_TRUE(at::allclose(our_gradients[i], their_gradients[i], 1e-5, 1e-6)) << i;
    }
  }
}

TEST_F(LinearTest, WritesItsWeightsGradientWhereItIsWantedOnce) {
  torch::nn::Linear layer(7, 5);
  const at::Tensor place = at::full({5, 7}, 99.0);
  int asked = 0;
  const ModelBatch inputs = batch([&](const at::Tensor& parameter) {
    EXPECT_TRUE(parameter.is_same(layer->weight));
    return ++asked == 1 ? at::from_blob(place.data_ptr(), {5, 7}) : at::Tensor();
  });
  const at::Tensor x = at::randn({4, 7});
  // Used twice: the second gradient has no place any more, and both are added.
  (linear(x, layer, inputs) + linear(2 * x, layer, inputs)).sum().backward();
  const at::Tensor right = 3 * at::ones({5, 4}).mm(x);
  EXPECT_EQ(asked, 2);
  EXPECT_TRUE(at::allclose(layer->weight.grad(), right, 1e-5, 1e-6));
  layer->weight.mutable_grad().reset();
  asked = 0;
  linear(x, layer, inputs).sum().backward();
  EXPECT_EQ(layer->weight.grad().data_ptr(), place.data_ptr()) << "it was copied";
  EXPECT_TRUE(at::allclose(place, at::ones({5, 4}).mm(x), 1e-5, 1e-6));
}

TEST_F(LinearTest, HasNoSecondDerivatives) {
  const torch::nn::Linear layer(7, 5);
  const at::Tensor x = at::randn({4, 7}).requires_grad_(true);
  EXPECT_ANY_THROW(
      torch::autograd::grad({linear(x, layer, batch()).sum()}, {x}, {}, true, /*create_graph=*/true));
}

}  // namespace
}  // namespace muster
