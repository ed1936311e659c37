// The gpt: causal, its loss by a plain formula, its start weights, the same for any micro-batches.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "tests/models/random_batch.h"

namespace muster {
namespace {

using testing::batch_at;
using testing::options_of;
using testing::range;

constexpr std::int64_t kVocabulary = 11;
constexpr std::int64_t kContext = 8;
const std::vector<TensorSpec> kWindow{{"text", TensorSpec::Kind::kInt64, {kContext + 1}, {kVocabulary}}};
const Json kSmall = {{"layers", 2}, {"width", 12}, {"heads", 3}};

std::unique_ptr<Model> make_gpt(const Json& changes = Json::object(),
                                const std::vector<TensorSpec>& tensors = kWindow) {
  Json options = kSmall;
  for (const auto& [key, value] : changes.items()) options[key] = value;
  return make_model("gpt", {options_of("gpt", options), tensors, 1}, 3);
}

Batch windows(std::uint32_t rows, std::uint64_t step = 0) {
  return batch_at(kWindow, kVocabulary, step, range(0, rows));
}

/// Weights that make a difference everywhere: the start's are small.
void scatter_weights(Model& model) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(4);
  for (const at::Tensor& weight : model.module().parameters()) weight.normal_(0, 0.5);
}

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

TEST(GptTest, ScoresAreOfEachTokensNextOne) {
  const auto model = make_gpt();
  EXPECT_TRUE(model->predicts_tokens());
  for (const std::uint32_t rows : {0U, 3U}) {
    const Batch batch = windows(rows);
    const ModelBatch inputs(batch, 0, rows, true, 1);
    EXPECT_EQ(model->forward(inputs).sizes(), at::IntArrayRef({rows, kContext, kVocabulary}));
    EXPECT_TRUE(at::equal(model->next_tokens(inputs), inputs.get("text").slice(1, 1)));
  }
}

TEST(GptTest, ATokenChangesNoScoreBeforeItAndSomeFromItOn) {
  for (const bool tied : {true, false}) {
    const auto model = make_gpt({{"tied", tied}});
    scatter_weights(*model);
    Batch batch = windows(2);
    const auto score = [&] { return model->forward(ModelBatch(batch, 0, 2, false, 1)).detach().clone(); };
    const at::Tensor before = score();
    for (std::int64_t t = 0; t <= kContext; ++t) {
      std::int64_t& token = batch.integers(0)[t];
      const std::int64_t was = std::exchange(token, (token + 1) % kVocabulary);
      const at::Tensor changed = (score() - before).abs().amax(2);  // [rows, tokens]
      token = was;
      EXPECT_EQ(changed[1].max().item<float>(), 0) << "another row";
      for (std::int64_t i = 0; i < kContext; ++i) {
        if (i < t) {
          EXPECT_EQ(changed[0][i].item<float>(), 0) << "token " << t << " changed the score at " << i;
        } else {
          EXPECT_GT(changed[0][i].item<float>(), 1e-4) << "token " << t << " is not seen at " << i;
        }
      }
    }
  }
}

TEST(GptTest, GradientsFlowOnlyFromLaterPredictions) {
  const auto model = make_gpt({{"tied", false}});
  scatter_weights(*model);
  Batch batch = windows(1);
  for (std::int64_t i = 0; i <= kContext; ++i) batch.integers(0)[i] = i;  // each token is its own embedding
  const at::Tensor scores = model->forward(ModelBatch(batch, 0, 1, true, 1));
  constexpr std::int64_t kAt = 3;
  scores[0][kAt].sum().backward();
  const at::Tensor gradient = model->module().named_parameters()["tokens.weight"].grad().abs().amax(1);
  for (std::int64_t token = 0; token < kVocabulary; ++token) {
    EXPECT_EQ(gradient[token].item<float>() > 0, token <= kAt) << token;
  }
}

TEST(GptTest, TheLossIsTheSumOverTokensByThePlainFormula) {
  const auto model = make_gpt();
  scatter_weights(*model);
  const Batch batch = windows(4);
  const ModelBatch inputs(batch, 0, 4, true, 1);
  const at::Tensor scores = model->forward(inputs);
  const at::Tensor sums = model->loss(scores, inputs, {LossKind::kNextToken});
  EXPECT_EQ(sums.scalar_type(), at::kDouble);
  const at::Tensor plain = scores.detach().to(at::kDouble);
  double loss = 0;
  double weight = 0;
  for (std::int64_t row = 0; row < 4; ++row) {
    const auto row_weight = static_cast<double>(batch.weights()[static_cast<std::size_t>(row)]);
    for (std::int64_t t = 0; t < kContext; ++t) {
      double total = 0;
      for (std::int64_t v = 0; v < kVocabulary; ++v) total += std::exp(plain[row][t][v].item<double>());
      const std::int64_t next = inputs.get("text")[row][t + 1].item<std::int64_t>();
      loss += row_weight * (std::log(total) - plain[row][t][next].item<double>());
      weight += row_weight;
    }
  }
  EXPECT_NEAR(sums[0].item<double>(), loss, 1e-5 * loss);
  EXPECT_NEAR(sums[1].item<double>(), weight, 1e-9);
  sums[0].backward();
  for (const auto& parameter : model->module().named_parameters())
    EXPECT_TRUE(parameter.value().grad().defined()) << parameter.key();
}

TEST(GptTest, NoRowsGiveZerosThatCarryTheGraph) {
  const auto model = make_gpt();
  const Batch batch = windows(0);
  const ModelBatch inputs(batch, 0, 0, true, 1);
  const at::Tensor sums = model->loss(model->forward(inputs), inputs, {LossKind::kNextToken});
  EXPECT_EQ(sums[0].item<double>(), 0);
  EXPECT_EQ(sums[1].item<double>(), 0);
  EXPECT_TRUE(sums.requires_grad());
}

TEST(GptTest, MicroBatchesAndDropoutAddUpToTheWhole) {
  const auto model = make_gpt({{"dropout", 0.3}});
  scatter_weights(*model);
  const Batch batch = windows(6, 5);
  const ModelBatch whole(batch, 0, 6, true, 9);
  const at::Tensor scores = model->forward(whole);
  const at::Tensor parts = at::cat(
      {model->forward(ModelBatch(batch, 0, 2, true, 9)), model->forward(ModelBatch(batch, 2, 4, true, 9))});
  EXPECT_TRUE(at::allclose(parts, scores, 1e-4, 1e-4));
  EXPECT_FALSE(at::allclose(model->forward(ModelBatch(batch, 0, 6, true, 8)), scores)) << "another seed";
  const at::Tensor calm = model->forward(ModelBatch(batch, 0, 6, false, 9));
  EXPECT_FALSE(at::allclose(calm, scores));
  EXPECT_TRUE(at::equal(model->forward(ModelBatch(batch, 0, 6, false, 8)), calm));
}

TEST(GptTest, StartsAsGpt2Does) {
  const auto model = make_gpt({{"width", 96}, {"layers", 8}, {"tied", false}});
  std::map<std::string, int> seen;
  for (const auto& parameter : model->module().named_parameters()) {
    const std::string& name = parameter.key();
    const at::Tensor& value = parameter.value();
    if (name.find("norm") != std::string::npos) {
      EXPECT_TRUE(at::equal(value, at::full_like(value, name.ends_with("weight") ? 1 : 0))) << name;
      ++seen["norm"];
    } else if (name.ends_with("bias")) {
      EXPECT_EQ(value.abs().max().item<float>(), 0) << name;
      ++seen["bias"];
    } else {
      const bool residual = name.ends_with("attention_out.weight") || name.ends_with("mlp_out.weight");
      const double expected = residual ? 0.02 / std::sqrt(2.0 * 8) : 0.02;
      EXPECT_NEAR(value.std().item<double>() / expected, 1, 0.15) << name;
      ++seen[residual ? "residual" : "other"];
    }
  }
  EXPECT_EQ(seen, (std::map<std::string, int>{{"norm", 34}, {"bias", 32}, {"residual", 16}, {"other", 19}}));
}

TEST(GptTest, TiedWeightsAreThereOnceAndOptionsChangeTheFunction) {
  const auto keys = [](const Json& changes) { return make_gpt(changes)->module().named_parameters().keys(); };
  const auto tied = keys({});
  const auto apart = keys({{"tied", false}});
  EXPECT_EQ(apart.size(), tied.size() + 1);
  EXPECT_EQ(std::count(tied.begin(), tied.end(), "output.weight"), 0);
  EXPECT_EQ(std::count(apart.begin(), apart.end(), "output.weight"), 1);
  const Batch batch = windows(2);
  const auto score = [&](const Json& changes) {
    return make_gpt(changes)->forward(ModelBatch(batch, 0, 2, true, 1));
  };
  const at::Tensor base = score({});
  for (const Json& changes : {Json{{"layers", 1}}, Json{{"width", 24}}, Json{{"heads", 2}},
                              Json{{"mlp_ratio", 2}}, Json{{"tied", false}}})
    EXPECT_FALSE(at::allclose(score(changes), base)) << changes;
}

TEST(GptTest, RefusesWhatItCannotBuild) {
  const auto with = [](const Json& changes) { return refusal([&] { make_gpt(changes); }); };
  EXPECT_NE(with({{"layers", 0}}).find("model.layers is 0"), std::string::npos);
  EXPECT_NE(with({{"heads", 5}}).find("not divisible by model.heads 5"), std::string::npos);
  EXPECT_NE(with({{"dropout", 1.0}}).find("model.dropout"), std::string::npos);
  const auto of = [](const TensorSpec& tensor) { return refusal([&] { make_gpt({}, {tensor}); }); };
  EXPECT_NE(of({"x", TensorSpec::Kind::kFloat32, {9}, {}}).find("'x' is none"), std::string::npos);
  EXPECT_NE(of({"categories", TensorSpec::Kind::kInt64, {2}, {4, 9}}).find("'categories' is none"),
            std::string::npos);
  EXPECT_NE(of({"x", TensorSpec::Kind::kInt64, {1}, {4}}).find("'x' is none"), std::string::npos);
  EXPECT_NE(refusal([&] {
              make_gpt({}, {kWindow[0], {"y", TensorSpec::Kind::kFloat32, {9}, {}}});
            }).find("text, y"),
            std::string::npos);
}

TEST(GptTest, NoOtherModelTakesItsLoss) {
  const std::vector<TensorSpec> table{{"x", TensorSpec::Kind::kFloat32, {5}, {}}};
  const auto model = make_model("mlp", {options_of("mlp", {}), testing::specs_of(table, 0), 1}, 1);
  const Batch batch = batch_at(testing::specs_of(table, 0), 0, 0, range(0, 2));
  const ModelBatch inputs(batch, 0, 2, true, 1);
  EXPECT_FALSE(model->predicts_tokens());
  EXPECT_NE(
      refusal([&] { model->loss(model->forward(inputs), inputs, {LossKind::kNextToken}); }).find("like gpt"),
      std::string::npos);
}

}  // namespace
}  // namespace muster
