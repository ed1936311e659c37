#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>

#include "tests/models/random_batch.h"

namespace muster {
namespace {

using testing::batch_at;
using testing::options_of;
using testing::range;
using testing::specs_of;

const std::vector<TensorSpec> kImage{{"picture", TensorSpec::Kind::kFloat32, {3, 20, 17}}};
const std::vector<TensorSpec> kFlatImage{{"picture", TensorSpec::Kind::kFloat32, {12, 9}}};

std::unique_ptr<Model> resnet(const std::vector<TensorSpec>& inputs, std::int64_t outputs,
                              const Json& changes) {
  return make_model("resnet", {options_of("resnet", changes), specs_of(inputs, 4), outputs}, 1);
}

at::Tensor scores(Model& model, const std::vector<TensorSpec>& inputs, std::uint32_t first,
                  std::uint32_t rows) {
  const Batch batch = batch_at(specs_of(inputs, 4), 4, 0, range(0, 8));
  return model.forward(ModelBatch(batch, first, rows, true, 1));
}

TEST(ResnetTest, HasTheParametersOfTorchvisions) {
  const std::vector<TensorSpec> inputs{{"picture", TensorSpec::Kind::kFloat32, {3, 224, 224}}};
  for (const auto& [depth, expected] : {std::pair{18, 11'689'512}, {34, 21'797'672}, {50, 25'557'032}}) {
    const auto model = resnet(inputs, 1000, {{"depth", depth}});
    std::int64_t count = 0;
    for (const at::Tensor& parameter : model->module().parameters()) count += parameter.numel();
    EXPECT_EQ(count, expected) << depth;
    const auto weights = model->module().named_parameters();
    for (const char* name :
         {"conv1.weight", "bn1.bias", "layer1.0.conv2.weight", "layer2.0.downsample.0.weight",
          "layer2.0.downsample.1.bias", "layer4.1.bn2.weight", "fc.weight"})
      EXPECT_NE(weights.find(name), nullptr) << depth << " " << name;
    EXPECT_EQ(weights["conv1.weight"].sizes(), at::IntArrayRef({64, 3, 7, 7}));
    EXPECT_EQ(weights.contains("layer1.0.downsample.0.weight"), depth == 50);
  }
}

TEST(ResnetTest, TakesImagesOfAllSizes) {
  for (const auto& inputs : {kImage, kFlatImage}) {
    for (const int depth : {18, 50}) {
      for (const char* stem : {"auto", "large"}) {
        const auto model = resnet(inputs, 4, {{"depth", depth}, {"width", 8}, {"stem", stem}});
        EXPECT_EQ(scores(*model, inputs, 0, 3).sizes(), at::IntArrayRef({3, 4}));
        EXPECT_EQ(scores(*model, inputs, 0, 0).sizes(), at::IntArrayRef({0, 4}));
        EXPECT_EQ(model->module().named_parameters()["conv1.weight"].size(2), stem[0] == 'a' ? 3 : 7);
      }
    }
    EXPECT_EQ(scores(*resnet(inputs, 1, {{"width", 8}}), inputs, 0, 3).sizes(), at::IntArrayRef({3}));
  }
}

TEST(ResnetTest, IsTheSameFunctionHoweverImagesLie) {
  const auto last = resnet(kImage, 4, {{"width", 8}});
  const auto first = resnet(kImage, 4, {{"width", 8}, {"channels_last", false}});
  EXPECT_TRUE(last->module().named_parameters()["layer1.0.conv1.weight"].is_contiguous(
      at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(at::allclose(scores(*last, kImage, 0, 8), scores(*first, kImage, 0, 8), 1e-4, 1e-5));
}

TEST(ResnetTest, ARowsScoresDoNotDependOnTheOthers) {
  const auto model = resnet(kImage, 4, {{"width", 8}});
  const at::Tensor all = scores(*model, kImage, 0, 8);
  EXPECT_TRUE(at::allclose(scores(*model, kImage, 5, 2), all.narrow(0, 5, 2), 1e-4, 1e-5));
}

TEST(ResnetTest, HasTorchvisionsBatchNormsByChoice) {
  for (const char* norm : {"batch", "batch_sync"}) {
    const auto model = resnet(kImage, 4, {{"width", 8}, {"norm", norm}});
    const auto buffers = model->module().named_buffers();
    for (const char* name :
         {"bn1.running_mean", "layer1.1.bn2.running_var", "layer2.0.downsample.1.num_batches_tracked"})
      EXPECT_TRUE(buffers.contains(name)) << name;
    EXPECT_EQ(scores(*model, kImage, 0, 8).sizes(), at::IntArrayRef({8, 4}));
    EXPECT_EQ(scores(*model, kImage, 0, 0).sizes(), at::IntArrayRef({0, 4}));
    EXPECT_FALSE(
        at::allclose(scores(*model, kImage, 5, 2), scores(*model, kImage, 0, 8).narrow(0, 5, 2), 1e-3, 1e-3));
    model->module().eval();
    EXPECT_TRUE(
        at::allclose(scores(*model, kImage, 5, 2), scores(*model, kImage, 0, 8).narrow(0, 5, 2), 1e-3, 1e-3));
  }
}

TEST(ResnetTest, EveryParameterLearns) {
  const auto model = resnet(kImage, 4, {{"width", 8}, {"depth", 50}});
  const Batch batch = batch_at(specs_of(kImage, 4), 4, 0, range(0, 8));  // there until the gradients are made
  model->forward(ModelBatch(batch, 0, 8, true, 1)).square().sum().backward();
  for (const auto& parameter : model->module().named_parameters())
    EXPECT_GT(parameter.value().grad().abs().sum().item<float>(), 0) << parameter.key();
}

TEST(ResnetTest, RefusesWhatItCannotBuild) {
  const auto refusal = [](const std::vector<TensorSpec>& inputs, const Json& changes) -> std::string {
    try {
      resnet(inputs, 4, changes);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kConfig);
      return error.message();
    }
    return "nothing was thrown";
  };
  EXPECT_NE(refusal(kImage, {{"depth", 20}}).find("model.depth is 20"), std::string::npos);
  EXPECT_NE(refusal(kImage, {{"width", 0}}).find("model.width is 0"), std::string::npos);
  EXPECT_NE(refusal({{"x", TensorSpec::Kind::kFloat32, {5}}}, Json::object()).find("'x'"), std::string::npos);
}

}  // namespace
}  // namespace muster
