#include <gtest/gtest.h>
#include <torch/torch.h>

#include <thread>

#include "tests/models/random_batch.h"

namespace muster {
namespace {

using testing::batch_at;
using testing::options_of;
using testing::range;
using testing::specs_of;

const std::vector<TensorSpec> kTable{{"x", TensorSpec::Kind::kFloat32, {5}}};
const std::vector<TensorSpec> kImage{{"picture", TensorSpec::Kind::kFloat32, {2, 12, 9}}};
const std::vector<TensorSpec> kFlatImage{{"picture", TensorSpec::Kind::kFloat32, {12, 9}}};
const std::vector<TensorSpec> kMixed{{"features", TensorSpec::Kind::kFloat32, {5}, {}},
                                     {"categories", TensorSpec::Kind::kInt64, {2}, {4, 9}}};

ModelContext context_of(const std::string& model, const std::vector<TensorSpec>& inputs, std::int64_t outputs,
                        const Json& changes = Json::object()) {
  return {options_of(model, changes), specs_of(inputs, 4), outputs};
}

std::vector<at::Tensor> weights_of(Model& model) {
  std::vector<at::Tensor> weights;
  for (const at::Tensor& parameter : model.module().parameters())
    weights.push_back(parameter.detach().clone());
  return weights;
}

bool same(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return std::ranges::equal(a, b, [](const at::Tensor& x, const at::Tensor& y) { return at::equal(x, y); });
}

/// The message of the Error{kConfig} that the body throws.
std::string refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    return error.message();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

at::Tensor scores(const std::string& name, const std::vector<TensorSpec>& inputs, std::int64_t outputs,
                  const Json& changes = Json::object(), std::uint32_t rows = 3) {
  const auto model = make_model(name, context_of(name, inputs, outputs, changes), 1);
  const Batch batch = batch_at(specs_of(inputs, 4), 4, 0, range(0, rows));
  return model->forward(ModelBatch(batch, 0, rows, true, 1));
}

TEST(ModelBatchTest, SharesTheBatchsMemoryFromItsFirstRow) {
  Batch batch = batch_at(specs_of(kImage, 4), 4, 9, range(10, 16));
  const ModelBatch part(batch, 2, 3, true, 77);
  EXPECT_EQ(part.rows(), 3);
  EXPECT_EQ(part.step(), 9U);
  EXPECT_EQ(part.seed(), 77U);
  EXPECT_TRUE(part.training());
  EXPECT_EQ(part.positions(), range(12, 15));
  EXPECT_EQ(part.get("picture").sizes(), at::IntArrayRef({3, 2, 12, 9}));
  EXPECT_EQ(part.get("picture").data_ptr<float>(), batch.floats(0) + 2 * 2 * 12 * 9);
  EXPECT_EQ(part.label().data_ptr<std::int64_t>(), batch.integers(1) + 2);
  EXPECT_EQ(part.weights().data_ptr<float>(), batch.weights().data() + 2);
  EXPECT_TRUE(part.has("picture"));
  EXPECT_FALSE(part.has("pictures"));
  EXPECT_NE(refusal([&] { part.get("pictures"); }).find("picture, label"), std::string::npos);
  EXPECT_THROW(ModelBatch(batch, 4, 3, true, 1), Error);
  EXPECT_EQ(ModelBatch(batch, 6, 0, true, 1).get("picture").size(0), 0);
}

TEST(ModelContextTest, FindsInputsAndNamesThemInErrors) {
  const ModelContext one = context_of("mlp", kImage, 4);
  EXPECT_EQ(one.only_input().name, "picture");
  EXPECT_EQ(one.tensor("label").kind, TensorSpec::Kind::kInt64);
  EXPECT_NE(refusal([&] { (void)one.tensor("x"); }).find("picture, label"), std::string::npos);
  const ModelContext two = context_of("mlp", {kImage[0], kTable[0]}, 4);
  EXPECT_NE(refusal([&] { (void)two.only_input(); }).find("picture, x"), std::string::npos);
  EXPECT_NE(refusal([&] { (void)context_of("mlp", {}, 4).only_input(); }).find("none"), std::string::npos);
}

TEST(MakeModelTest, StartWeightsDependOnTheSeedOnly) {
  for (const auto& [name, inputs] : {std::pair{"mlp", kTable}, {"convnet", kImage}, {"tabular", kMixed}}) {
    const ModelContext context = context_of(name, inputs, 4);
    at::manual_seed(1);
    const auto first = weights_of(*make_model(name, context, 5));
    at::manual_seed(2);
    EXPECT_TRUE(same(first, weights_of(*make_model(name, context, 5)))) << name;
    EXPECT_FALSE(same(first, weights_of(*make_model(name, context, 6)))) << name;
  }
}

TEST(MakeModelTest, LeavesTorchsGeneratorAsItWas) {
  at::manual_seed(3);
  const at::Tensor expected = at::rand({4});
  at::manual_seed(3);
  make_model("mlp", context_of("mlp", kTable, 4), 5);
  EXPECT_TRUE(at::equal(at::rand({4}), expected));
  at::manual_seed(3);
  EXPECT_THROW(make_model("mlp", context_of("mlp", {}, 4), 5), Error);
  EXPECT_TRUE(at::equal(at::rand({4}), expected));
}

TEST(MakeModelTest, ThreadsMakeTheSameWeights) {
  const ModelContext context = context_of("mlp", kTable, 4, {{"hidden", {64, 64, 64, 64}}});
  const auto expected = weights_of(*make_model("mlp", context, 5));
  std::vector<std::vector<at::Tensor>> made(4);
  std::vector<std::jthread> threads;
  for (auto& weights : made) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) weights = weights_of(*make_model("mlp", context, 5));
    });
  }
  threads.clear();
  for (const auto& weights : made) EXPECT_TRUE(same(weights, expected));
}

TEST(MakeModelTest, UnknownModelsListTheKnown) {
  EXPECT_NE(refusal([] { make_model("convnett", {}, 1); }).find("did you mean 'convnet'"), std::string::npos);
}

TEST(ModelsTest, EveryOptionHasADefaultAndAHelpLine) {
  for (const std::string& name : models().names()) {
    EXPECT_FALSE(models().get(name).help.empty());
    for (const Option& option : models().get(name).options) {
      EXPECT_FALSE(option.help.empty()) << name << "." << option.name;
      EXPECT_FALSE(option.fallback.is_null()) << name << "." << option.name;
    }
  }
}

TEST(MlpTest, ScoresHaveTheRightShape) {
  const std::vector<TensorSpec> both{kTable[0], kImage[0]};
  for (const Json& changes :
       {Json::object(), Json{{"hidden", Json::array()}}, Json{{"normalization", "layer"}}}) {
    EXPECT_EQ(scores("mlp", both, 4, changes).sizes(), at::IntArrayRef({3, 4}));
    EXPECT_EQ(scores("mlp", kTable, 1, changes).sizes(), at::IntArrayRef({3}));
    EXPECT_EQ(scores("mlp", kTable, 4, changes, 0).sizes(), at::IntArrayRef({0, 4}));
  }
}

TEST(MlpTest, WithoutHiddenLayersItIsLinearInAllInputs) {
  const std::vector<TensorSpec> inputs{kTable[0], kFlatImage[0]};
  const auto model = make_model("mlp", context_of("mlp", inputs, 1, {{"hidden", Json::array()}}), 1);
  const Batch batch = batch_at(specs_of(inputs, 4), 4, 0, range(0, 7));
  const ModelBatch rows(batch, 0, 7, true, 1);
  const auto weights = model->module().named_parameters();
  ASSERT_EQ(weights.keys(), (std::vector<std::string>{"output.weight", "output.bias"}));
  const at::Tensor x = at::cat({rows.get("x"), rows.get("picture").flatten(1)}, 1);
  const at::Tensor expected = at::mv(x, weights["output.weight"][0]) + weights["output.bias"];
  EXPECT_TRUE(at::allclose(model->forward(rows), expected, 1e-5, 1e-6));
}

TEST(MlpTest, OptionsChangeTheFunction) {
  const at::Tensor base = scores("mlp", kTable, 4);
  for (const Json& changes :
       {Json{{"activation", "gelu"}}, Json{{"activation", "tanh"}}, Json{{"activation", "silu"}},
        Json{{"normalization", "layer"}}, Json{{"dropout", 0.5}}}) {
    EXPECT_FALSE(at::allclose(scores("mlp", kTable, 4, changes), base)) << changes;
  }
}

TEST(MlpTest, RefusesWhatItCannotBuild) {
  const auto make = [](const std::vector<TensorSpec>& inputs, const Json& changes) {
    return refusal([&] { make_model("mlp", context_of("mlp", inputs, 4, changes), 1); });
  };
  EXPECT_NE(make(kTable, {{"hidden", {8, 0}}}).find("hidden"), std::string::npos);
  EXPECT_NE(make(kTable, {{"dropout", 1.0}}).find("dropout"), std::string::npos);
  EXPECT_NE(make({}, Json::object()).find("no inputs"), std::string::npos);
  EXPECT_NE(make({{"ids", TensorSpec::Kind::kInt64, {3}}}, Json::object()).find("'ids'"), std::string::npos);
}

TEST(TabularTest, ScoresHaveTheRightShape) {
  for (const Json& changes : {Json::object(), Json{{"blocks", 0}}, Json{{"embedding", 3}}}) {
    EXPECT_EQ(scores("tabular", kMixed, 4, changes).sizes(), at::IntArrayRef({3, 4}));
    EXPECT_EQ(scores("tabular", {kMixed[0]}, 1, changes).sizes(), at::IntArrayRef({3}));
    EXPECT_EQ(scores("tabular", {kMixed[1]}, 1, changes).sizes(), at::IntArrayRef({3}));
    EXPECT_EQ(scores("tabular", kMixed, 4, changes, 0).sizes(), at::IntArrayRef({0, 4}));
  }
}

TEST(TabularTest, EachCategoryHasItsEmbeddingAndAnUnknownOneSaysNothing) {
  const auto model = make_model("tabular", context_of("tabular", kMixed, 1), 1);
  const auto weights = model->module().named_parameters();
  EXPECT_EQ(weights["embedding_0.weight"].sizes(), at::IntArrayRef({4, 3}));  // 1.6 * 4^0.56 = 3.48
  EXPECT_EQ(weights["embedding_1.weight"].size(0), 9);
  Batch batch = batch_at(specs_of(kMixed, 4), 4, 0, range(0, 3));
  const auto score = [&](std::int64_t first, std::int64_t second) {
    batch.integers(1)[0] = first;
    batch.integers(1)[1] = second;
    return model->forward(ModelBatch(batch, 0, 1, false, 1)).item<float>();
  };
  EXPECT_NE(score(1, 8), score(2, 8));
  EXPECT_NE(score(1, 8), score(1, 7));
  const float unknown = score(0, 8);
  {
    const torch::NoGradGuard no_grad;
    weights["embedding_0.weight"][1].zero_();
  }
  EXPECT_EQ(score(1, 8), unknown);
}

TEST(TabularTest, ARowsScoresDoNotDependOnTheOthers) {
  const auto model = make_model("tabular", context_of("tabular", kMixed, 4), 1);
  const Batch batch = batch_at(specs_of(kMixed, 4), 4, 0, range(0, 6));
  const at::Tensor all = model->forward(ModelBatch(batch, 0, 6, true, 1));
  EXPECT_TRUE(at::allclose(model->forward(ModelBatch(batch, 2, 3, true, 1)), all.slice(0, 2, 5), 1e-5, 1e-6));
}

TEST(TabularTest, RefusesWhatItCannotBuild) {
  const auto make = [](const std::vector<TensorSpec>& inputs, const Json& changes) {
    return refusal([&] { make_model("tabular", context_of("tabular", inputs, 4, changes), 1); });
  };
  EXPECT_NE(make(kMixed, {{"width", 0}}).find("width"), std::string::npos);
  EXPECT_NE(make(kMixed, {{"blocks", -1}}).find("blocks"), std::string::npos);
  EXPECT_NE(make(kMixed, {{"dropout", 1.0}}).find("dropout"), std::string::npos);
  EXPECT_NE(make({}, Json::object()).find("no inputs"), std::string::npos);
  EXPECT_NE(make({{"tokens", TensorSpec::Kind::kInt64, {3}, {}}}, Json::object()).find("'tokens'"),
            std::string::npos);
}

TEST(ConvnetTest, TakesImagesWithAndWithoutChannels) {
  for (const auto& inputs : {kImage, kFlatImage}) {
    for (const char* norm : {"group", "none"}) {
      EXPECT_EQ(scores("convnet", inputs, 4, {{"norm", norm}}).sizes(), at::IntArrayRef({3, 4}));
      EXPECT_EQ(scores("convnet", inputs, 1, {{"norm", norm}}).sizes(), at::IntArrayRef({3}));
      EXPECT_EQ(scores("convnet", inputs, 4, {{"norm", norm}}, 0).sizes(), at::IntArrayRef({0, 4}));
    }
  }
  const auto plain = scores("convnet", kImage, 4);
  EXPECT_FALSE(at::allclose(scores("convnet", kImage, 4, {{"dropout", 0.5}}), plain));
  EXPECT_FALSE(at::allclose(scores("convnet", kImage, 4, {{"norm", "none"}}), plain));
}

TEST(ConvnetTest, ARowsScoresDoNotDependOnTheOthers) {
  const auto model = make_model("convnet", context_of("convnet", kImage, 4), 1);
  const Batch batch = batch_at(specs_of(kImage, 4), 4, 0, range(0, 8));
  const at::Tensor all = model->forward(ModelBatch(batch, 0, 8, true, 1));
  EXPECT_TRUE(
      at::allclose(model->forward(ModelBatch(batch, 5, 1, true, 1)), all.narrow(0, 5, 1), 1e-5, 1e-6));
}

TEST(ConvnetTest, RefusesWhatItCannotBuild) {
  const auto make = [](const std::vector<TensorSpec>& inputs, const Json& changes) {
    return refusal([&] { make_model("convnet", context_of("convnet", inputs, 4, changes), 1); });
  };
  EXPECT_NE(make(kTable, Json::object()).find("'x'"), std::string::npos);
  EXPECT_NE(make({kImage[0], kTable[0]}, Json::object()).find("picture, x"), std::string::npos);
  EXPECT_NE(make(kImage, {{"channels", {8, 8, 8, 8}}}).find("too small"), std::string::npos);
  EXPECT_NE(make(kImage, {{"channels", Json::array()}}).find("channels"), std::string::npos);
  EXPECT_NE(make(kImage, {{"channels", {-3}}}).find("channels"), std::string::npos);
  EXPECT_NE(make(kImage, {{"hidden", 0}}).find("hidden"), std::string::npos);
  EXPECT_NE(make(kImage, {{"dropout", -0.1}}).find("dropout"), std::string::npos);
}

}  // namespace
}  // namespace muster
