#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "tests/models/random_batch.h"

namespace muster {
namespace {

using testing::batch_at;
using testing::options_of;
using testing::range;
using Shape = std::vector<std::int64_t>;
using Kind = TensorSpec::Kind;

std::vector<TensorSpec> specs(const std::vector<Shape>& inputs) {
  std::vector<TensorSpec> made;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    made.push_back({fmt::format("field{}", i), Kind::kFloat32, inputs[i], {}});
  return made;
}

std::unique_ptr<Model> unet(const std::vector<TensorSpec>& inputs, const Shape& label, Json changes) {
  if (!changes.contains("width")) changes["width"] = 8;
  ModelContext context{options_of("unet", changes), inputs, 1, label};
  context.tensors.push_back({std::string(kLabelTensor), Kind::kFloat32, label, {}});
  for (const std::int64_t extent : label) context.outputs *= extent;
  return make_model("unet", context, 1);
}

at::Tensor field_scores(Model& model, const std::vector<TensorSpec>& inputs, std::uint32_t first,
                        std::uint32_t rows) {
  const Batch batch = batch_at(inputs, 0, 0, range(0, 4));
  return model.forward(ModelBatch(batch, first, rows, true, 1));
}

/// Gradients of all parameters; the batch is there until they are made.
void learn(Model& model, const std::vector<TensorSpec>& inputs) {
  const Batch batch = batch_at(inputs, 0, 0, range(0, 4));
  model.forward(ModelBatch(batch, 0, 4, true, 1)).square().sum().backward();
}

struct Case {
  std::vector<Shape> inputs;
  Shape label;
  int dimensions = 0;
};

std::vector<Case> cases() {
  return {{{{20, 17}}, {20, 17}},
          {{{16, 24}}, {16, 24}},
          {{{3, 20, 17}}, {20, 17}},
          {{{20, 17}}, {2, 20, 17}},
          {{{20, 17}, {2, 20, 17}}, {20, 17}},
          {{{9, 9}}, {9, 9}, 2},
          {{{9, 10, 11}}, {9, 10, 11}, 3},
          {{{9, 10, 11}, {2, 9, 10, 11}}, {9, 10, 11}, 3},
          {{{1, 9, 8, 11}}, {3, 9, 8, 11}},
          {{{5, 9, 8}}, {5, 9, 8}}};
}

TEST(UnetTest, GivesAnArrayOfTheLabelsShapeForAnySize) {
  for (const Case& c : cases()) {
    const auto inputs = specs(c.inputs);
    for (const bool last : {true, false}) {
      for (const char* padding : {"zeros", "circular"}) {
        const auto model = unet(
            inputs, c.label, {{"dimensions", c.dimensions}, {"channels_last", last}, {"padding", padding}});
        for (const std::uint32_t rows : {3U, 1U, 0U}) {
          Shape expected{rows};
          expected.insert(expected.end(), c.label.begin(), c.label.end());
          EXPECT_EQ(field_scores(*model, inputs, 1, rows).sizes(), expected);
        }
      }
    }
  }
}

TEST(UnetTest, TakesBatchNorms) {
  for (const Case& c : {Case{{{20, 17}}, {20, 17}}, Case{{{9, 10, 11}}, {9, 10, 11}, 3}}) {
    const auto inputs = specs(c.inputs);
    const auto model = unet(inputs, c.label, {{"norm", "batch"}, {"dimensions", c.dimensions}});
    EXPECT_TRUE(model->module().named_buffers().contains("bottom.norm2.running_var"));
    learn(*model, inputs);
    for (const auto& parameter : model->module().named_parameters())
      EXPECT_GT(parameter.value().grad().abs().sum().item<float>(), 0) << parameter.key();
  }
}

TEST(UnetTest, StacksItsInputsAsChannels) {
  const auto inputs = specs({{20, 17}, {2, 20, 17}});
  const auto model = unet(inputs, {20, 17}, Json::object());
  EXPECT_EQ(model->module().named_parameters()["down0.conv1.weight"].sizes(), at::IntArrayRef({8, 3, 3, 3}));
  EXPECT_EQ(model->module().named_parameters()["bottom.conv1.weight"].sizes(),
            at::IntArrayRef({64, 32, 3, 3}));
}

TEST(UnetTest, IsTheSameFunctionHoweverArraysLie) {
  for (const Case& c : {Case{{{20, 17}}, {20, 17}}, Case{{{2, 9, 10, 11}}, {2, 9, 10, 11}}}) {
    const auto inputs = specs(c.inputs);
    const auto last = unet(inputs, c.label, Json::object());
    const auto first = unet(inputs, c.label, {{"channels_last", false}});
    const auto format =
        c.label.size() == 2 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::ChannelsLast3d;
    EXPECT_TRUE(last->module().named_parameters()["down1.conv1.weight"].is_contiguous(format));
    EXPECT_TRUE(
        at::allclose(field_scores(*last, inputs, 0, 4), field_scores(*first, inputs, 0, 4), 1e-4, 1e-5));
  }
}

TEST(UnetTest, ARowsScoresDoNotDependOnTheOthers) {
  const auto inputs = specs({{20, 17}});
  const auto model = unet(inputs, {20, 17}, Json::object());
  const at::Tensor all = field_scores(*model, inputs, 0, 4);
  EXPECT_TRUE(at::allclose(field_scores(*model, inputs, 2, 2), all.narrow(0, 2, 2), 1e-4, 1e-5));
}

TEST(UnetTest, EveryParameterLearns) {
  for (const Case& c : {Case{{{21, 19}}, {21, 19}}, Case{{{9, 10, 11}}, {9, 10, 11}, 3}}) {
    const auto inputs = specs(c.inputs);
    const auto model = unet(inputs, c.label, {{"dimensions", c.dimensions}});
    learn(*model, inputs);
    for (const auto& parameter : model->module().named_parameters())
      EXPECT_GT(parameter.value().grad().abs().sum().item<float>(), 0) << parameter.key();
  }
}

/// The greatest change of the result when the input is moved along its last axis, and the result moved back.
double change_by_moving(const std::string& padding, std::int64_t by) {
  const auto inputs = specs({{16, 24}});
  const auto model = unet(inputs, {16, 24}, {{"padding", padding}, {"levels", 2}});
  Batch batch = batch_at(inputs, 0, 0, range(0, 2));
  const at::Tensor before = model->forward(ModelBatch(batch, 0, 2, true, 1)).detach().clone();
  at::Tensor field = at::from_blob(batch.floats(0), {2, 16, 24}, at::kFloat);
  field.copy_(field.roll(by, 2).clone());
  const at::Tensor after = model->forward(ModelBatch(batch, 0, 2, true, 1)).detach();
  return (after.roll(-by, 2) - before).abs().max().item<double>();
}

TEST(UnetTest, CircularPaddingHasNoEdges) {
  EXPECT_LT(change_by_moving("circular", 4), 1e-4);
  EXPECT_LT(change_by_moving("circular", 12), 1e-4);
  EXPECT_GT(change_by_moving("zeros", 4), 1e-2);
  EXPECT_GT(change_by_moving("circular", 1), 1e-2) << "poolings see other pairs";
}

TEST(UnetTest, RefusesWhatItCannotBuild) {
  const auto refusal = [](const std::vector<TensorSpec>& inputs, const Shape& label,
                          const Json& changes) -> std::string {
    try {
      unet(inputs, label, changes);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kConfig);
      return error.message();
    }
    return "nothing was thrown";
  };
  const auto grid = specs({{20, 17}});
  const std::vector<TensorSpec> ids{{"tokens", Kind::kInt64, {20, 17}, {5}}};
  const std::vector<TensorSpec> numbers{{"features", Kind::kFloat32, {3}, {}}, grid[0]};
  struct Bad {
    std::vector<TensorSpec> inputs;
    Shape label;
    Json changes;
    const char* part;
  };
  const Bad bad[] = {{grid, {}, Json::object(), "a label with a shape"},
                     {grid, {20}, Json::object(), "the label is [20]"},
                     {grid, {1, 2, 3, 4, 5}, Json::object(), "the label is [1, 2, 3, 4, 5]"},
                     {grid, {20, 17}, {{"dimensions", 3}}, "the label is [20, 17], model.dimensions 3"},
                     {grid, {20, 17}, {{"dimensions", 4}}, "model.dimensions is 4"},
                     {grid, {20, 16}, Json::object(), "'field0' is [20, 17]"},
                     {specs({{17, 20}}), {20, 17}, Json::object(), "'field0' is [17, 20]"},
                     {specs({{4, 9, 10, 11}}), {9, 10, 11}, Json::object(), "'field0' is [4, 9, 10, 11]"},
                     {ids, {20, 17}, Json::object(), "'tokens'"},
                     {numbers, {20, 17}, Json::object(), "'features' is [3]"},
                     {grid, {20, 17}, {{"width", 0}}, "model.width is 0"},
                     {grid, {20, 17}, {{"width", 1 << 20}}, "model.width is 1048576"},
                     {grid, {20, 17}, {{"levels", 0}}, "model.levels is 0"},
                     {grid, {20, 17}, {{"levels", 5}}, "model.levels is 5"},
                     {grid, {20, 17}, {{"levels", 64}}, "model.levels is 64"}};
  for (const Bad& b : bad) {
    const std::string message = refusal(b.inputs, b.label, b.changes);
    EXPECT_NE(message.find(b.part), std::string::npos) << message;
  }
  EXPECT_EQ(refusal(grid, {20, 17}, {{"levels", 4}}), "nothing was thrown") << "17 >> 4 is a cell";
}

}  // namespace
}  // namespace muster
