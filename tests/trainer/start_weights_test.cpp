#include "trainer/checkpoint/start_weights.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "core/error.h"
#include "core/file_system.h"
#include "tests/data_loader/scratch_directory.h"
#include "trainer/gradients/frozen.h"

namespace muster {
namespace {

class Net : public torch::nn::Module {
 public:
  Net() {
    hidden = register_module("hidden", torch::nn::Linear(3, 2));
    norm = register_module("norm", torch::nn::BatchNorm1d(2));
    output = register_module("output", torch::nn::Linear(2, 1));
  }
  at::Tensor forward(const at::Tensor& x) { return output(norm(hidden(x))); }
  torch::nn::Linear hidden{nullptr};
  torch::nn::BatchNorm1d norm{nullptr};
  torch::nn::Linear output{nullptr};
};

std::vector<TensorBlob> others() {
  Net net;
  const torch::NoGradGuard no_grad;
  float value = 10;
  for (auto& named : net.named_parameters()) named.value().fill_(value++);
  return to_blobs(module_tensors(net));
}

std::string refusal(const std::vector<TensorBlob>& source, const WeightRules& rules) {
  Net net;
  const auto before = to_blobs(module_tensors(net));
  try {
    assign_weights(module_tensors(net), source, rules);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    EXPECT_EQ(to_blobs(module_tensors(net)), before) << "nothing is changed";
    return error.what();
  }
  return "accepted";
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(AssignWeights, TakesAllOfTheSameNames) {
  Net net;
  const auto report = assign_weights(module_tensors(net), others(), {});
  EXPECT_EQ(to_blobs(module_tensors(net)), others());
  EXPECT_EQ(report.taken.size(), 9U);
  EXPECT_TRUE(report.kept.empty());
  EXPECT_TRUE(report.unused.empty());
}

TEST(AssignWeights, MapsNamesTransposesConvertsAndLeavesOut) {
  auto source = others();
  for (TensorBlob& blob : source) blob.name = "model." + blob.name;
  const at::Tensor turned = at::arange(6, at::kDouble).view({3, 2});  // as [in, out], in double precision
  for (TensorBlob& blob : source) {
    if (blob.name == "model.hidden.weight") blob = to_blob("encoder.w", turned);
  }
  source.push_back(to_blob("spare", at::zeros({1})));
  Net net;
  const at::Tensor start = net.output->weight.detach().clone();
  const auto report = assign_weights(module_tensors(net), source,
                                     {{"hidden.weight = encoder.w transposed", "*=model.*"}, {"output.w*"}});
  EXPECT_TRUE(at::equal(net.hidden->weight.detach(), turned.t().to(at::kFloat)));
  EXPECT_TRUE(at::equal(net.output->weight.detach(), start));
  EXPECT_EQ(net.output->bias.item<float>(), 15.0F);
  EXPECT_EQ(report.kept, std::vector<std::string>{"output.weight"});
  EXPECT_EQ(report.unused, (std::vector<std::string>{"model.output.weight", "spare"}));
}

TEST(AssignWeights, RefusesWhatDoesNotFit) {
  auto source = others();
  source.front().name = "hidden.weights";
  std::string said = refusal(source, {});
  EXPECT_TRUE(holds(said, "has no 'hidden.weight' (did you mean 'hidden.weights'?)")) << said;
  EXPECT_TRUE(holds(said, "model.init_names") && holds(said, "model.init_except")) << said;

  source = others();
  source.front() = to_blob("hidden.weight", at::zeros({2, 4}));
  said = refusal(source, {});
  EXPECT_TRUE(holds(said, "is [2, 4], the model's 'hidden.weight' [2, 3]")) << said;
  source.front() = to_blob("hidden.weight", at::zeros({2, 3}, at::kInt));
  EXPECT_TRUE(holds(refusal(source, {}), "holds Int"));
  EXPECT_TRUE(holds(refusal(others(), {{"hidden.bias = hidden.bias transposed"}, {}}), "no matrix"));
  EXPECT_TRUE(holds(refusal(others(), {{"hidden.weight"}, {}}), "is no rule"));
  EXPECT_TRUE(holds(refusal(others(), {{"hidden.weight = a.*"}, {}}), "no more * right than left"));
  EXPECT_TRUE(holds(refusal(others(), {{" = a"}, {}}), "a name on both sides"));
  EXPECT_TRUE(holds(refusal(others(), {{"hiden.* = hiden.*"}, {}}), "'hiden.* = hiden.*' fits no tensor"));
  EXPECT_TRUE(holds(refusal(others(), {{}, {"head.*"}}), "'head.*' fits no tensor"));
}

TEST(AssignWeights, KnowsListsOfTheModelByTheirNames) {
  const std::vector<WeightNames> known{
      {"theirs", {"hidden.* = h.*", "norm.weight = n.w", "norm.* = n.*", "spare.* = s.*"}, {"", "model."}}};
  for (const std::string prefix : {"", "model."}) {
    auto source = others();
    for (TensorBlob& blob : source) {
      if (blob.name.starts_with("hidden.")) blob.name = prefix + "h." + blob.name.substr(7);
      if (blob.name.starts_with("norm."))
        blob.name = prefix + (blob.name == "norm.weight" ? "n.w" : "n." + blob.name.substr(5));
    }
    Net net;
    // A rule of one's own goes first; one of a list need not fit.
    const auto report =
        assign_weights(module_tensors(net), source, {{"output.b* = output.b*", "theirs"}, {}, known});
    EXPECT_EQ(to_blobs(module_tensors(net)), others()) << prefix;
    EXPECT_EQ(report.taken.size(), 9U);
    EXPECT_TRUE(report.unused.empty());
  }
  const std::string said = refusal(others(), {{"their"}, {}, known});
  EXPECT_TRUE(holds(said, "'their' is no rule (did you mean 'theirs'?)")) << said;
  EXPECT_TRUE(holds(said, "or a name for all of a model's: theirs")) << said;
  EXPECT_TRUE(holds(refusal(others(), {{"*.* = *.*", "theirs"}, {}, known}), "'theirs' fits no tensor"));
}

class ReadWeights : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::vector<TensorBlob>& tensors) {
    write_safetensors(*files_->create(scratch_ / name), tensors);
  }
  void write_text(const std::string& name, std::string_view text) {
    files_->create(scratch_ / name)->append(text);
  }
  std::string refusal(const std::string& name, ErrorCode code) {
    try {
      read_weights(*files_, (scratch_ / name).string(), silent_log());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      return error.what();
    }
    return "accepted";
  }
  testing::ScratchDirectory scratch_;
  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
};

TEST_F(ReadWeights, ReadsAFileAndSeveralByTheirIndex) {
  const auto all = others();
  write("all.safetensors", all);
  const WeightSource one = read_weights(*files_, (scratch_ / "all.safetensors").string(), silent_log());
  EXPECT_EQ(one.tensors.size(), all.size());
  EXPECT_EQ(one.sha256.size(), 64U);
  EXPECT_TRUE(one.pipeline.is_null());

  write("a.safetensors", {all.begin(), all.begin() + 3});
  write("b.safetensors", {all.begin() + 3, all.end()});
  Json map;
  for (std::size_t i = 0; i < all.size(); ++i) map[all[i].name] = i < 3 ? "a.safetensors" : "b.safetensors";
  write_text("w.safetensors.index.json", Json{{"weight_map", map}}.dump());
  const WeightSource two =
      read_weights(*files_, (scratch_ / "w.safetensors.index.json").string(), silent_log());
  Net net;
  assign_weights(module_tensors(net), two.tensors, {});
  EXPECT_EQ(to_blobs(module_tensors(net)), all);
}

/// Headers of 640 and 1152 bytes make a file begin as old pickles do.
TEST_F(ReadWeights, TakesNoFileForAPickleByItsHeadersLength) {
  for (const std::uint64_t length : {std::uint64_t{640}, std::uint64_t{1152}}) {
    std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
    header.resize(length, ' ');
    std::string file(reinterpret_cast<const char*>(&length), sizeof length);
    write_text("odd.safetensors", file + header + std::string(4, '\0'));
    EXPECT_EQ(read_weights(*files_, (scratch_ / "odd.safetensors").string(), silent_log()).tensors.size(),
              1U);
  }
}

TEST_F(ReadWeights, RefusesOtherFiles) {
  EXPECT_TRUE(holds(refusal("none", ErrorCode::kStorage), "No such file"));
  write_text("w.pt", std::string_view("PK\x03\x04 and so on", 14));
  EXPECT_TRUE(holds(refusal("w.pt", ErrorCode::kConfig), "safetensors.torch.save_file"));
  write_text("w.bin", "anything else at all");
  EXPECT_TRUE(holds(refusal("w.bin", ErrorCode::kStorage), "is not a safetensors file"));
  write_text("x.index.json", R"({"weight_map": {"a": "../elsewhere"}})");
  EXPECT_TRUE(holds(refusal("x.index.json", ErrorCode::kStorage), "names no file beside it for 'a'"));
  write_text("y.index.json", R"({"weight_map": 3})");
  EXPECT_TRUE(holds(refusal("y.index.json", ErrorCode::kStorage), "not an object"));
  write("a.safetensors", others());
  write("b.safetensors", others());
  write_text("z.index.json", R"({"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}})");
  EXPECT_TRUE(holds(refusal("z.index.json", ErrorCode::kStorage), "as another file does"));
  std::filesystem::create_directory(scratch_ / "other");
  write_text("other/file", "of somebody else");
  EXPECT_TRUE(holds(refusal("other", ErrorCode::kStorage), "Is a directory"));
}

TEST(Freeze, TurnsGradientsOffByPattern) {
  Net net;
  const std::vector<std::string> patterns{"hidden.*", "norm.weight"};
  freeze(net, patterns);
  EXPECT_FALSE(net.hidden->weight.requires_grad());
  EXPECT_FALSE(net.norm->weight.requires_grad());
  EXPECT_TRUE(net.norm->bias.requires_grad());
  std::vector<std::string> trained;
  for (const auto& [name, tensor] : trainable_parameters(net)) trained.push_back(name);
  EXPECT_EQ(trained, (std::vector<std::string>{"norm.bias", "output.weight", "output.bias"}));
}

TEST(Freeze, RefusesPatternsOfNothingAndOfEverything) {
  const auto said = [](const std::vector<std::string>& patterns) -> std::string {
    Net net;
    try {
      freeze(net, patterns);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kConfig);
      return error.what();
    }
    return "";
  };
  EXPECT_TRUE(holds(said({"hidden.wieght"}), "did you mean 'hidden.weight'?"));
  EXPECT_TRUE(holds(said({"norm.running_mean"}), "no parameter")) << "a buffer is none";
  EXPECT_TRUE(holds(said({"*"}), "leaves no parameter to train"));
  EXPECT_EQ(said({}), "");
}

/// With a parameter of its own above the others, as vision transformers have.
class Above : public torch::nn::Module {
 public:
  Above() {
    token = register_parameter("token", torch::zeros({2}));
    below = register_module("below", std::make_shared<Net>());
  }
  at::Tensor token;
  std::shared_ptr<Net> below;
};

TEST(Freeze, WhatLiesBelowAFrozenParameterIsStillTrained) {
  Above net;
  const std::vector<std::string> patterns{"token", "below.hidden.*"};
  freeze(net, patterns);
  set_training(net);
  EXPECT_FALSE(net.below->hidden->is_training());
  EXPECT_TRUE(net.below->is_training());
  EXPECT_TRUE(net.below->norm->is_training());
  net.eval();
  set_training(net);
  EXPECT_TRUE(net.below->norm->is_training()) << "again after an evaluation";
}

TEST(Freeze, LeavesTheStatisticsOfAFrozenNormAlone) {
  Net net;
  set_training(net);
  net.forward(at::randn({8, 3}));
  EXPECT_NE(net.norm->running_mean.abs().sum().item<float>(), 0.0F);
  const std::vector<std::string> patterns{"norm.*"};
  freeze(net, patterns);
  const at::Tensor before = net.norm->running_mean.clone();
  set_training(net);
  net.forward(at::randn({8, 3}));
  EXPECT_TRUE(at::equal(net.norm->running_mean, before));
  EXPECT_TRUE(net.output->is_training());
}

}  // namespace
}  // namespace muster
