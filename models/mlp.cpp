// A multi-layer perceptron over all float inputs of a batch.

#include <torch/torch.h>

#include "models/dropout.h"
#include "models/linear.h"
#include "models/model.h"

namespace muster {

namespace {

class MlpNet : public torch::nn::Module {
 public:
  MlpNet(std::int64_t inputs, const std::vector<std::int64_t>& hidden, std::int64_t outputs, bool normalize) {
    std::int64_t width = inputs;
    for (std::size_t i = 0; i < hidden.size(); ++i) {
      layers.emplace_back(register_module(fmt::format("hidden_{}", i), torch::nn::Linear(width, hidden[i])));
      width = hidden[i];
      if (!normalize) continue;
      norms.emplace_back(register_module(fmt::format("norm_{}", i),
                                         torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}))));
    }
    output = register_module("output", torch::nn::Linear(width, outputs));
  }

  std::vector<torch::nn::Linear> layers;
  std::vector<torch::nn::LayerNorm> norms;
  torch::nn::Linear output{nullptr};
};

at::Tensor activate(const at::Tensor& x, const std::string& name) {
  if (name == "gelu") return at::gelu(x);
  if (name == "tanh") return at::tanh(x);
  if (name == "silu") return at::silu(x);
  return at::relu(x);
}

class Mlp : public Model {
 public:
  explicit Mlp(const ModelContext& context)
      : activation_(context.options.at("activation").get<std::string>()),
        dropout_(context.options.at("dropout").get<double>()),
        outputs_(context.outputs) {
    const auto hidden = context.options.at("hidden").get<std::vector<std::int64_t>>();
    for (const std::int64_t width : hidden) {
      if (width < 1) fail(ErrorCode::kConfig, "model.hidden has a width of {}; widths are at least 1", width);
    }
    if (!(dropout_ >= 0 && dropout_ < 1)) {
      fail(ErrorCode::kConfig, "model.dropout is {}; it must be at least 0 and below 1", dropout_);
    }
    std::int64_t width = 0;
    for (const TensorSpec* input : context.inputs()) {
      if (input->kind != TensorSpec::Kind::kFloat32) {
        fail(ErrorCode::kConfig,
             "the mlp takes numbers, '{}' is of texts or categories: `model.name: tabular` takes it, or "
             "leave its "
             "fields out of data.features",
             input->name);
      }
      inputs_.push_back(input->name);
      width += static_cast<std::int64_t>(input->values_per_row());
    }
    if (width == 0) fail(ErrorCode::kConfig, "the mlp has no inputs; name some in data.features");
    const bool normalize = context.options.at("normalization") == "layer";
    net_ = std::make_shared<MlpNet>(width, hidden, outputs_, normalize);
  }

  torch::nn::Module& module() override { return *net_; }

  at::Tensor forward(const ModelBatch& batch) override {
    std::vector<at::Tensor> parts;
    for (const std::string& name : inputs_) parts.push_back(batch.get(name).flatten(1));
    at::Tensor x = parts.size() == 1 ? parts.front() : at::cat(parts, 1);
    for (std::size_t i = 0; i < net_->layers.size(); ++i) {
      x = linear(x, net_->layers[i], batch);
      if (!net_->norms.empty()) x = net_->norms[i](x);
      x = keyed_dropout(activate(x, activation_), dropout_, batch, i);
    }
    x = linear(x, net_->output, batch);
    return outputs_ == 1 ? x.squeeze(1) : x;
  }

 private:
  std::string activation_;
  double dropout_;
  std::int64_t outputs_;
  std::vector<std::string> inputs_;
  std::shared_ptr<MlpNet> net_;
};

const bool kRegistered = models().add(
    "mlp",
    {{{"hidden",
       OptionType::kIntegerList,
       Json::array({128, 64}),
       "widths of the hidden layers; an empty list makes it linear (logistic) regression",
       {}},
      {"activation", OptionType::kText, "relu", "after each hidden layer", {"relu", "gelu", "tanh", "silu"}},
      {"normalization", OptionType::kText, "none", "before each activation", {"none", "layer"}},
      {"dropout",
       OptionType::kNumber,
       0.0,
       "probability with which a hidden value is zeroed in training",
       {}}},
     [](const ModelContext& context) { return std::make_unique<Mlp>(context); },
     "fully connected layers over all float inputs, flattened side by side"});

}  // namespace

}  // namespace muster
