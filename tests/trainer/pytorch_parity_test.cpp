// Weights that PyTorch wrote give PyTorch's scores, losses and gradients: tests/pytorch/make.py made the
// files.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <map>

#include "models/model.h"
#include "tests/models/random_batch.h"
#include "trainer/checkpoint/start_weights.h"
#include "trainer/checkpoint/weight_names.h"

namespace muster {
namespace {

using testing::options_of;
using testing::specs_of;

const std::filesystem::path kKept = std::filesystem::path(MUSTER_SOURCE_DIR) / "tests/pytorch/kept";

std::vector<TensorBlob> kept(const std::string& name) {
  const auto files = make_posix_file_system();
  return read_weights(*files, (kKept / (name + ".safetensors")).string(), [](LogLevel, std::string_view) {})
      .tensors;
}

struct Case {
  std::string name;  ///< of model and files
  std::vector<TensorSpec> tensors;
  std::int64_t outputs = 1;
  Json options;
  std::vector<std::string> names;  ///< model.init_names
  LossKind loss = LossKind::kNextToken;
};

Case gpt2() {
  return {"gpt2",   {{"ids", TensorSpec::Kind::kInt64, {13}, {61}}},
          1,        {{"layers", 2}, {"width", 16}, {"heads", 4}, {"context", 16}, {"gelu", "tanh"}},
          {"gpt2"}, LossKind::kNextToken};
}

Case resnet(const std::string& files, const std::string& norm) {
  return {files, specs_of({{"image", TensorSpec::Kind::kFloat32, {3, 64, 72}}}, 5),
          5,     {{"depth", 18}, {"width", 2}, {"stem", "large"}, {"norm", norm}},
          {},    LossKind::kCrossEntropy};
}

/// Numbers in [-1, 1), as make.py's images are of.
void fill_with_pattern(std::span<float> values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i * 40503 % 65536) / 32768 - 1;
}

/// The rows that PyTorch saw, each of weight 1.
Batch batch_of(const Case& with, const std::map<std::string, at::Tensor>& seen) {
  const auto rows = static_cast<std::size_t>(seen.at("scores").size(0));
  Batch batch(with.tensors, rows, aligned_allocator());
  batch.set_rows(rows);
  if (with.loss == LossKind::kNextToken) {
    const at::Tensor ids = seen.at("input").contiguous();
    std::memcpy(batch.data(0), ids.data_ptr(), ids.nbytes());
  } else {
    fill_with_pattern({batch.floats(0), rows * with.tensors[0].values_per_row()});
    std::memcpy(batch.data(1), seen.at("labels").data_ptr(), rows * sizeof(std::int64_t));
  }
  std::fill_n(batch.weights().begin(), rows, 1.0F);
  return batch;
}

double difference(const at::Tensor& ours, const at::Tensor& theirs) {
  return ((ours - theirs).abs() / (1 + theirs.abs())).max().item<double>();
}

void expect_parity(const Case& with, const std::vector<TensorBlob>& weights) {
  const std::string model_name = with.loss == LossKind::kNextToken ? "gpt" : "resnet";
  const auto model =
      make_model(model_name, {options_of(model_name, with.options), with.tensors, with.outputs}, 1);
  const std::vector<WeightNames>& known = models().get(model_name).known_names;
  const auto report = assign_weights(module_tensors(model->module()), weights, {with.names, {}, known});
  EXPECT_EQ(report.taken.size(), weights.size());
  EXPECT_TRUE(report.kept.empty());
  EXPECT_TRUE(report.unused.empty());

  std::map<std::string, at::Tensor> seen;
  for (const TensorBlob& blob : kept(with.name + "-expected")) seen[blob.name] = to_tensor(blob);
  const Batch batch = batch_of(with, seen);
  const ModelBatch inputs(batch, 0, batch.rows(), true, 1);
  if (seen.contains("evaluated")) {
    const torch::NoGradGuard no_grad;
    model->module().eval();
    const at::Tensor evaluated = model->forward(ModelBatch(batch, 0, batch.rows(), false, 1));
    EXPECT_LT(difference(evaluated, seen.at("evaluated")), 2e-5);
    model->module().train();
  }
  const at::Tensor scores = model->forward(inputs);
  const double scores_off = difference(scores, seen.at("scores"));
  EXPECT_LT(scores_off, 2e-5);
  LossSettings settings;
  settings.kind = with.loss;
  const at::Tensor sums = model->loss(scores, inputs, settings);
  // PyTorch's are each row's mean over its tokens.
  const double per_row = sums[1].item<double>() / static_cast<double>(batch.rows());
  const double loss = seen.at("losses").sum().item<double>();
  EXPECT_NEAR(sums[0].item<double>() / per_row / loss, 1, 1e-5);

  (sums[0] / per_row).backward();
  const auto rules = parse_name_rules("", with.names, known);
  double gradients_off = 0;
  for (const auto& parameter : model->module().named_parameters()) {
    const ForeignName theirs = foreign_name(parameter.key(), rules, with.names.size());
    at::Tensor wanted = seen.at("gradient." + theirs.names.front());
    if (theirs.transposed) wanted = wanted.t();
    const double off = difference(parameter.value().grad(), wanted);
    EXPECT_LT(off, 5e-5) << parameter.key();
    gradients_off = std::max(gradients_off, off);
  }
  std::cout << with.name << ": scores differ by at most " << scores_off << ", gradients by " << gradients_off
            << '\n';
}

TEST(PytorchParity, Gpt2UnderHuggingFacesNames) { expect_parity(gpt2(), kept("gpt2-weights")); }

TEST(PytorchParity, Gpt2WithTheirPrefixAndAnOutputOfItsOwn) {
  std::vector<TensorBlob> weights = kept("gpt2-weights");
  TensorBlob output;
  for (TensorBlob& blob : weights) {
    if (blob.name == "wte.weight") output = blob;
    blob.name = "transformer." + blob.name;
  }
  expect_parity(gpt2(), weights);
  output.name = "lm_head.weight";
  weights.push_back(output);
  Case untied = gpt2();
  untied.options["tied"] = false;
  const auto model = make_model("gpt", {options_of("gpt", untied.options), untied.tensors, 1}, 1);
  const auto report = assign_weights(module_tensors(model->module()), weights,
                                     {{"gpt2"}, {}, models().get("gpt").known_names});
  EXPECT_EQ(report.taken.size(), weights.size());
}

TEST(PytorchParity, TheApproximationIsNeededForIt) {
  Case exact = gpt2();
  exact.options["gelu"] = "exact";
  const auto model = make_model("gpt", {options_of("gpt", exact.options), exact.tensors, 1}, 1);
  assign_weights(module_tensors(model->module()), kept("gpt2-weights"),
                 {exact.names, {}, models().get("gpt").known_names});
  std::map<std::string, at::Tensor> seen;
  for (const TensorBlob& blob : kept("gpt2-expected")) seen[blob.name] = to_tensor(blob);
  const Batch batch = batch_of(exact, seen);
  const double off =
      difference(model->forward(ModelBatch(batch, 0, batch.rows(), true, 1)), seen.at("scores"));
  EXPECT_GT(off, 1e-4);
  EXPECT_LT(off, 1e-2);
}

TEST(PytorchParity, ResnetUnderTorchvisionsNames) {
  expect_parity(resnet("resnet", "group"), kept("resnet-weights"));
  expect_parity(resnet("resnet-batch", "batch"), kept("resnet-batch-weights"));
}

}  // namespace
}  // namespace muster
