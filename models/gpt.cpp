// A causal transformer over a window of tokens: GPT-2 (Radford et al. 2019) with pre-norm blocks.

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include <cmath>

#include "models/dropout.h"
#include "models/embedding.h"
#include "models/gpu_operators.h"
#include "models/linear.h"
#include "models/model.h"
#include "models/recompute.h"

namespace muster {

namespace {

struct GptShape {
  std::int64_t vocabulary = 0;
  std::int64_t context = 0;  ///< tokens that there are positions for, at least a window's
  std::int64_t layers = 0;
  std::int64_t width = 0;
  std::int64_t heads = 0;
  std::int64_t hidden = 0;  ///< of the perceptrons
  bool tied = false;        ///< whether the embedding's weights are the output's too
  std::string gelu;         ///< LibTorch's name of the way it is computed
  double dropout = 0;
};

/// What runs through the layers: x + delta, which is still to be added where it is defined.
struct Stream {
  at::Tensor x;
  at::Tensor delta;
};

struct SumAndNorm {
  at::Tensor sum;
  at::Tensor normal;
};

/// The stream's sum, and its norm, in the type that a matrix product takes it in.
SumAndNorm add_norm(const Stream& stream, torch::nn::LayerNorm& norm) {
  if (!stream.delta.defined()) return {stream.x, norm->forward(stream.x)};
  const at::ScalarType type = at::autocast::is_autocast_enabled(at::kCUDA) && stream.x.is_cuda()
                                  ? at::autocast::get_autocast_dtype(at::kCUDA)
                                  : at::kFloat;
  if (has_gpu_add_norm(stream.x, stream.delta, type)) {
    auto [sum, normal] = gpu_add_norm(stream.x, stream.delta, norm->weight, norm->bias, type);
    return {sum, normal};
  }
  const at::Tensor sum = stream.x + stream.delta;
  return {sum, norm->forward(sum)};
}

/// y = x + attention(norm(x)), then y + perceptron(norm(y)). A dropout follows each of the two; attention's
/// own weights have none, as their masks could not be keyed by row inside the fused kernel.
class Block : public torch::nn::Module {
 public:
  explicit Block(const GptShape& shape) : shape_(shape) {
    const auto norm = torch::nn::LayerNormOptions({shape.width});
    attention_norm_ = register_module("attention_norm", torch::nn::LayerNorm(norm));
    attention_in_ = register_module("attention_in", torch::nn::Linear(shape.width, 3 * shape.width));
    attention_out_ = register_module("attention_out", torch::nn::Linear(shape.width, shape.width));
    mlp_norm_ = register_module("mlp_norm", torch::nn::LayerNorm(norm));
    mlp_in_ = register_module("mlp_in", torch::nn::Linear(shape.width, shape.hidden));
    mlp_out_ = register_module("mlp_out", torch::nn::Linear(shape.hidden, shape.width));
  }

  Stream forward(const Stream& stream, const ModelBatch& batch, std::uint64_t number) {
    const SumAndNorm in = add_norm(stream, attention_norm_);
    const at::Tensor attended =
        keyed_dropout(attend(in.normal, batch), shape_.dropout, batch, 2 * number + 1);
    const SumAndNorm between = add_norm({in.sum, attended}, mlp_norm_);
    const at::Tensor hidden = at::gelu(linear(between.normal, mlp_in_, batch), shape_.gelu);
    return {between.sum,
            keyed_dropout(linear(hidden, mlp_out_, batch), shape_.dropout, batch, 2 * number + 2)};
  }

  /// Both add to the sum that runs through all layers.
  std::vector<at::Tensor> residual_weights() const { return {attention_out_->weight, mlp_out_->weight}; }

 private:
  /// x and the result: [rows, tokens, width].
  at::Tensor attend(const at::Tensor& x, const ModelBatch& batch) {
    const std::int64_t rows = x.size(0);
    const std::int64_t tokens = x.size(1);
    // In three parts, whose gradients are put together in one pass: [rows, heads, tokens, width of a head].
    std::vector<at::Tensor> parts = linear(x, attention_in_, batch).split(shape_.width, -1);
    for (at::Tensor& part : parts)
      part = part.reshape({rows, tokens, shape_.heads, shape_.width / shape_.heads}).transpose(1, 2);
    const at::Tensor mixed =
        at::scaled_dot_product_attention(parts[0], parts[1], parts[2], {}, 0.0, /*is_causal=*/true);
    return linear(mixed.transpose(1, 2).reshape({rows, tokens, shape_.width}), attention_out_, batch);
  }

  GptShape shape_;
  torch::nn::LayerNorm attention_norm_{nullptr};
  torch::nn::Linear attention_in_{nullptr};
  torch::nn::Linear attention_out_{nullptr};
  torch::nn::LayerNorm mlp_norm_{nullptr};
  torch::nn::Linear mlp_in_{nullptr};
  torch::nn::Linear mlp_out_{nullptr};
};

class GptNet : public torch::nn::Module {
 public:
  explicit GptNet(const GptShape& shape) : shape_(shape) {
    const bool sparse = !shape.tied && has_sparse_gradients(shape.vocabulary, shape.width);
    const auto tokens = torch::nn::EmbeddingOptions(shape.vocabulary, shape.width).sparse(sparse);
    tokens_ = register_module("tokens", torch::nn::Embedding(tokens));
    positions_ = register_module("positions", torch::nn::Embedding(shape.context, shape.width));
    for (std::int64_t i = 0; i < shape.layers; ++i)
      blocks_.push_back(register_module(fmt::format("block_{}", i), std::make_shared<Block>(shape)));
    norm_ = register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({shape.width})));
    if (!shape.tied) {
      const auto options = torch::nn::LinearOptions(shape.width, shape.vocabulary).bias(false);
      output_ = register_module("output", torch::nn::Linear(options));
    }
    start();
  }

  /// ids: int64 [rows, tokens]; the result: [rows, tokens, vocabulary]. With `recompute` a block keeps what
  /// goes into it, and no more.
  at::Tensor forward(const at::Tensor& ids, const ModelBatch& batch, bool recompute) {
    const at::Tensor positions = positions_->weight.narrow(0, 0, ids.size(1));
    Stream stream{keyed_dropout(tokens_(ids) + positions, shape_.dropout, batch, 0), {}};
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      const auto pass = [block = blocks_[i].get(), &batch, i](const at::Tensor& x) {
        const Stream out = block->forward({x, {}}, batch, i);
        return out.x + out.delta;
      };
      stream = recompute ? Stream{recomputed(stream.x, blocks_[i]->parameters(), pass), {}}
                         : blocks_[i]->forward(stream, batch, i);
    }
    return linear(add_norm(stream, norm_).normal, shape_.tied ? tokens_->weight : output_->weight,
                  at::Tensor(), batch);
  }

 private:
  /// GPT-2's start weights: normal with deviation 0.02, biases 0; what adds to the residual sum is scaled by
  /// 1 / sqrt(2 layers), as so many terms add up.
  void start() {
    const torch::NoGradGuard no_grad;
    constexpr double kDeviation = 0.02;
    for (auto& parameter : named_parameters()) {
      const bool is_norm = parameter.key().find("norm.") != std::string::npos;
      if (parameter.value().dim() == 2) parameter.value().normal_(0, kDeviation);
      if (parameter.value().dim() == 1 && !is_norm) parameter.value().zero_();
    }
    const double scale = 1 / std::sqrt(2.0 * static_cast<double>(shape_.layers));
    for (const auto& block : blocks_) {
      for (const at::Tensor& weight : block->residual_weights()) weight.mul_(scale);
    }
  }

  GptShape shape_;
  torch::nn::Embedding tokens_{nullptr};
  torch::nn::Embedding positions_{nullptr};
  std::vector<std::shared_ptr<Block>> blocks_;
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Linear output_{nullptr};
};

std::int64_t at_least_one(const ModelContext& context, const char* name) {
  const auto value = context.options.at(name).get<std::int64_t>();
  if (value < 1) fail(ErrorCode::kConfig, "model.{} is {}; it is at least 1", name, value);
  return value;
}

GptShape shape_of(const ModelContext& context, const TensorSpec& input) {
  if (input.kind != TensorSpec::Kind::kInt64 || input.ids.size() != 1 || input.shape.size() != 1 ||
      input.shape[0] < 2) {
    fail(ErrorCode::kConfig,
         "the gpt takes windows of ids, '{}' is none: give the field a `window` and the transform `tokens` "
         "in the "
         "contract",
         input.name);
  }
  GptShape shape;
  shape.vocabulary = input.ids[0];
  const std::int64_t window = input.shape[0] - 1;
  const auto context_given = context.options.at("context").get<std::int64_t>();
  shape.context = context_given == 0 ? window : context_given;
  if (shape.context < window)
    fail(ErrorCode::kConfig, "model.context is {}, the windows of '{}' have {} tokens", shape.context,
         input.name, window);
  shape.layers = at_least_one(context, "layers");
  shape.width = at_least_one(context, "width");
  shape.heads = at_least_one(context, "heads");
  shape.hidden = shape.width * at_least_one(context, "mlp_ratio");
  shape.tied = context.options.at("tied").get<bool>();
  shape.gelu = context.options.at("gelu") == "tanh" ? "tanh" : "none";
  shape.dropout = context.options.at("dropout").get<double>();
  if (shape.width % shape.heads != 0)
    fail(ErrorCode::kConfig, "model.width {} is not divisible by model.heads {}", shape.width, shape.heads);
  if (!(shape.dropout >= 0 && shape.dropout < 1))
    fail(ErrorCode::kConfig, "model.dropout is {}; it must be at least 0 and below 1", shape.dropout);
  return shape;
}

class Gpt : public Model {
 public:
  explicit Gpt(const ModelContext& context)
      : input_(context.only_input().name),
        recompute_(context.recompute),
        net_(std::make_shared<GptNet>(shape_of(context, context.only_input()))) {}

  torch::nn::Module& module() override { return *net_; }
  bool predicts_tokens() const override { return true; }

  at::Tensor forward(const ModelBatch& batch) override {
    const at::Tensor ids = batch.get(input_);
    return net_->forward(ids.narrow(1, 0, ids.size(1) - 1), batch, recompute_);
  }
  at::Tensor next_tokens(const ModelBatch& batch) const override {
    const at::Tensor ids = batch.get(input_);
    return ids.narrow(1, 1, ids.size(1) - 1);
  }
  at::Tensor loss(const at::Tensor& scores, const ModelBatch& batch, const LossSettings&) override {
    return next_token_sums(scores, next_tokens(batch), batch.weights());
  }

 private:
  std::string input_;
  bool recompute_;
  std::shared_ptr<GptNet> net_;
};

/// Hugging Face's names for GPT-2, whose linear layers hold [in, out]. GPT2LMHeadModel has the prefix,
/// GPT2Model and the weights that OpenAI published have not.
WeightNames gpt2_names() {
  return {
      "gpt2",
      {"tokens.weight = wte.weight", "positions.weight = wpe.weight", "block_*.attention_norm.* = h.*.ln_1.*",
       "block_*.attention_in.weight = h.*.attn.c_attn.weight transposed",
       "block_*.attention_in.bias = h.*.attn.c_attn.bias",
       "block_*.attention_out.weight = h.*.attn.c_proj.weight transposed",
       "block_*.attention_out.bias = h.*.attn.c_proj.bias", "block_*.mlp_norm.* = h.*.ln_2.*",
       "block_*.mlp_in.weight = h.*.mlp.c_fc.weight transposed", "block_*.mlp_in.bias = h.*.mlp.c_fc.bias",
       "block_*.mlp_out.weight = h.*.mlp.c_proj.weight transposed",
       "block_*.mlp_out.bias = h.*.mlp.c_proj.bias", "norm.* = ln_f.*", "output.weight = lm_head.weight"},
      {"", "transformer."}};
}

const bool kRegistered = models().add(
    "gpt",
    {{{"layers", OptionType::kUnsigned, 4, "transformer blocks", {}},
      {"width", OptionType::kUnsigned, 128, "of the embeddings and layers", {}},
      {"heads", OptionType::kUnsigned, 4, "of attention; they divide the width", {}},
      {"mlp_ratio", OptionType::kUnsigned, 4, "hidden width of the perceptrons / width", {}},
      {"context",
       OptionType::kUnsigned,
       0,
       "positions that have an embedding, at least a window's tokens; 0: as many as a window has",
       {}},
      {"gelu",
       OptionType::kText,
       "exact",
       "how the perceptrons' GELU is computed; tanh: by the approximation that GPT-2 was trained with",
       {"exact", "tanh"}},
      {"tied", OptionType::kBoolean, true, "the output has the embedding's weights", {}},
      {"dropout",
       OptionType::kNumber,
       0.0,
       "probability with which a value is zeroed in training: of the embeddings, and of what attention and "
       "perceptrons add",
       {}}},
     [](const ModelContext& context) { return std::make_unique<Gpt>(context); },
     "a causal transformer that predicts each next token of a window (loss.kind next_token)",
     {gpt2_names()},
     /*recomputes=*/true});

}  // namespace

}  // namespace muster
