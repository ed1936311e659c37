// Tables: numbers and embedded categories through a residual multi-layer perceptron.

#include <torch/torch.h>

#include <cmath>

#include "models/dropout.h"
#include "models/embedding.h"
#include "models/linear.h"
#include "models/model.h"

namespace muster {

namespace {

/// Width of a category's embedding where none is given: grows slowly with the number of ids, as the rules of
/// thumb of tabular libraries do.
std::int64_t default_width(std::int64_t ids) {
  const double width = 1.6 * std::pow(static_cast<double>(ids), 0.56);
  return std::clamp<std::int64_t>(std::llround(width), 2, 64);
}

struct TabularSizes {
  std::int64_t numbers = 0;
  std::vector<std::int64_t> ids;  ///< per category
  std::int64_t embedding = 0;     ///< 0: by the number of ids
  std::int64_t width = 0;
  std::int64_t blocks = 0;
  std::int64_t outputs = 1;
};

/// x + linear(relu(linear(norm(x)))): a residual block with the norm first (He et al. 2016, "pre-activation";
/// for tables: Gorishniy et al. 2021, "ResNet").
class TabularBlock : public torch::nn::Module {
 public:
  explicit TabularBlock(std::int64_t width) {
    norm = register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})));
    inner = register_module("inner", torch::nn::Linear(width, width));
    outer = register_module("outer", torch::nn::Linear(width, width));
  }

  torch::nn::LayerNorm norm{nullptr};
  torch::nn::Linear inner{nullptr};
  torch::nn::Linear outer{nullptr};
};

class TabularNet : public torch::nn::Module {
 public:
  explicit TabularNet(const TabularSizes& sizes) {
    std::int64_t width = sizes.numbers;
    for (std::size_t i = 0; i < sizes.ids.size(); ++i) {
      const std::int64_t size = sizes.embedding > 0 ? sizes.embedding : default_width(sizes.ids[i]);
      embeddings.emplace_back(
          register_module(fmt::format("embedding_{}", i),
                          torch::nn::Embedding(torch::nn::EmbeddingOptions(sizes.ids[i], size)
                                                   .sparse(has_sparse_gradients(sizes.ids[i], size)))));
      start(embeddings.back()->weight, size);
      width += size;
    }
    input = register_module("input", torch::nn::Linear(width, sizes.width));
    for (std::int64_t i = 0; i < sizes.blocks; ++i)
      blocks.push_back(
          register_module(fmt::format("block_{}", i), std::make_shared<TabularBlock>(sizes.width)));
    norm = register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({sizes.width})));
    output = register_module("output", torch::nn::Linear(sizes.width, sizes.outputs));
  }

  std::vector<torch::nn::Embedding> embeddings;
  torch::nn::Linear input{nullptr};
  std::vector<std::shared_ptr<TabularBlock>> blocks;
  torch::nn::LayerNorm norm{nullptr};
  torch::nn::Linear output{nullptr};

 private:
  /// Small, as a value of one standard deviation is; id 0 (a value that training never saw, where there were
  /// no rare ones) says nothing.
  static void start(const at::Tensor& weight, std::int64_t size) {
    const torch::NoGradGuard no_grad;
    weight.normal_(0, 1 / std::sqrt(static_cast<double>(size)));
    weight[0].zero_();
  }
};

class Tabular : public Model {
 public:
  explicit Tabular(const ModelContext& context)
      : dropout_(context.options.at("dropout").get<double>()), outputs_(context.outputs) {
    if (!(dropout_ >= 0 && dropout_ < 1)) {
      fail(ErrorCode::kConfig, "model.dropout is {}; it must be at least 0 and below 1", dropout_);
    }
    TabularSizes sizes;
    for (const TensorSpec* input : context.inputs()) {
      if (input->kind == TensorSpec::Kind::kFloat32) {
        numbers_.push_back(input->name);
        sizes.numbers += static_cast<std::int64_t>(input->values_per_row());
      } else if (input->ids.size() == input->values_per_row()) {
        categories_.push_back(input->name);
        sizes.ids.insert(sizes.ids.end(), input->ids.begin(), input->ids.end());
      } else {
        fail(ErrorCode::kConfig,
             "the tabular model takes numbers and categories, '{}' is neither; leave it out of data.features",
             input->name);
      }
    }
    if (sizes.numbers == 0 && sizes.ids.empty())
      fail(ErrorCode::kConfig, "the tabular model has no inputs; name some in data.features");
    sizes.embedding = positive(context, "embedding", 0);
    sizes.width = positive(context, "width", 1);
    sizes.blocks = positive(context, "blocks", 0);
    sizes.outputs = outputs_;
    net_ = std::make_shared<TabularNet>(sizes);
  }

  torch::nn::Module& module() override { return *net_; }

  at::Tensor forward(const ModelBatch& batch) override {
    std::vector<at::Tensor> parts;
    for (const std::string& name : numbers_) parts.push_back(batch.get(name).flatten(1));
    std::size_t column = 0;
    for (const std::string& name : categories_) {
      for (const at::Tensor& ids : batch.get(name).unbind(1))
        parts.push_back(net_->embeddings[column++](ids));
    }
    at::Tensor x = linear(parts.size() == 1 ? parts.front() : at::cat(parts, 1), net_->input, batch);
    std::uint64_t layer = 0;
    for (const auto& block : net_->blocks) {
      at::Tensor y =
          keyed_dropout(at::relu(linear(block->norm(x), block->inner, batch)), dropout_, batch, layer++);
      x = x + keyed_dropout(linear(y, block->outer, batch), dropout_, batch, layer++);
    }
    x = linear(at::relu(net_->norm(x)), net_->output, batch);
    return outputs_ == 1 ? x.squeeze(1) : x;
  }

 private:
  static std::int64_t positive(const ModelContext& context, const char* name, std::int64_t least) {
    const auto value = context.options.at(name).get<std::int64_t>();
    if (value < least) fail(ErrorCode::kConfig, "model.{} is {}; it is at least {}", name, value, least);
    return value;
  }

  double dropout_;
  std::int64_t outputs_;
  std::vector<std::string> numbers_;
  std::vector<std::string> categories_;
  std::shared_ptr<TabularNet> net_;
};

const bool kRegistered =
    models().add("tabular", {{{"width", OptionType::kInteger, 128, "width of the residual blocks", {}},
                              {"blocks", OptionType::kInteger, 2, "number of residual blocks", {}},
                              {"embedding",
                               OptionType::kInteger,
                               0,
                               "width of each category's embedding; 0: 1.6 × ids^0.56, from 2 to 64",
                               {}},
                              {"dropout",
                               OptionType::kNumber,
                               0.1,
                               "probability with which a value in a block is zeroed in training",
                               {}}},
                             [](const ModelContext& context) { return std::make_unique<Tabular>(context); },
                             "numbers and embedded categories through residual blocks with layer norm"});

}  // namespace

}  // namespace muster
