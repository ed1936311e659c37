// Residual networks for images: He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (2015),
// with the stride in a bottleneck's 3x3 convolution. Tensors have torchvision's names.

#include <torch/torch.h>

#include <algorithm>
#include <array>

#include "models/channels_last.h"
#include "models/linear.h"
#include "models/model.h"
#include "models/norm.h"

namespace muster {
namespace {

struct ResnetShape {
  std::array<std::int64_t, 4> blocks{};  ///< of each stage
  bool bottleneck = false;
  std::int64_t width = 64;    ///< channels of the first stage
  bool small_stem = false;    ///< one 3x3 convolution that keeps the size, for images of few pixels
  std::int64_t channels = 1;  ///< of the image
  std::int64_t outputs = 1;
  std::string norm;
};

constexpr std::int64_t kExpansion = 4;  // of a bottleneck's last convolution

torch::nn::Conv2d convolution(std::int64_t from, std::int64_t to, std::int64_t size, std::int64_t stride) {
  const auto options = torch::nn::Conv2dOptions(from, to, size).stride(stride).padding(size / 2).bias(false);
  return torch::nn::Conv2d(options);
}

/// The way round a block's convolutions where it must change the shape.
class Downsample : public torch::nn::Module {
 public:
  Downsample(std::int64_t from, std::int64_t to, std::int64_t stride, const std::string& norm)
      : stride_(stride),
        convolution_(register_module("0", convolution(from, to, 1, stride))),
        norm_(*this, "1", to, norm) {}

  at::Tensor forward(const at::Tensor& x, const ModelBatch& batch) { return norm_(convolved(x), batch); }

 private:
  /// On a CPU the places that the stride meets are taken first: oneDNN's backward pass of a strided 1x1
  /// convolution over channels that lie side by side writes past its memory where they are fewer than a
  /// vector has (oneDNN issue 6035, open for 3.10 to 3.12).
  at::Tensor convolved(const at::Tensor& x) {
    if (x.is_cuda()) return convolution_(x);
    const at::Tensor met = x.slice(2, 0, std::nullopt, stride_).slice(3, 0, std::nullopt, stride_);
    return at::conv2d(met, convolution_->weight);
  }

  std::int64_t stride_;
  torch::nn::Conv2d convolution_;
  Norm norm_;
};

/// Convolutions beside a way round them.
class Block : public torch::nn::Module {
 public:
  Block(std::int64_t from, std::int64_t width, std::int64_t stride, const ResnetShape& shape)
      : norm_kind_(shape.norm) {
    const std::int64_t to = shape.bottleneck ? kExpansion * width : width;
    if (shape.bottleneck) {
      add(from, width, 1, 1);
      add(width, width, 3, stride);
      add(width, to, 1, 1);
    } else {
      add(from, width, 3, stride);
      add(width, to, 3, 1);
    }
    if (stride != 1 || from != to)
      downsample_ = register_module("downsample", std::make_shared<Downsample>(from, to, stride, shape.norm));
  }

  at::Tensor forward(const at::Tensor& x, const ModelBatch& batch) {
    at::Tensor inner = x;
    const std::size_t last = convolutions_.size() - 1;
    for (std::size_t i = 0; i < last; ++i)
      inner = norms_[i](convolutions_[i](inner), batch, {.other = nullptr, .relu = true});
    const at::Tensor around = downsample_ ? downsample_->forward(x, batch) : x;
    return norms_[last](convolutions_[last](inner), batch, {.other = &around, .relu = true});
  }

 private:
  void add(std::int64_t from, std::int64_t to, std::int64_t size, std::int64_t stride) {
    const std::size_t number = convolutions_.size() + 1;
    convolutions_.emplace_back(
        register_module(fmt::format("conv{}", number), convolution(from, to, size, stride)));
    norms_.emplace_back(*this, fmt::format("bn{}", number), to, norm_kind_);
  }

  std::vector<torch::nn::Conv2d> convolutions_;
  std::string norm_kind_;
  std::vector<Norm> norms_;
  std::shared_ptr<Downsample> downsample_;
};

class ResnetNet : public torch::nn::Module {
 public:
  explicit ResnetNet(const ResnetShape& shape)
      : small_stem_(shape.small_stem),
        stem_(register_module(
            "conv1", convolution(shape.channels, shape.width, small_stem_ ? 3 : 7, small_stem_ ? 1 : 2))),
        stem_norm_(*this, "bn1", shape.width, shape.norm) {
    std::int64_t from = shape.width;
    for (std::size_t stage = 0; stage < shape.blocks.size(); ++stage) {
      const auto blocks = register_module(fmt::format("layer{}", stage + 1), torch::nn::ModuleList());
      const std::int64_t width = shape.width << stage;
      for (std::int64_t i = 0; i < shape.blocks[stage]; ++i) {
        const auto block = std::make_shared<Block>(from, width, stage > 0 && i == 0 ? 2 : 1, shape);
        blocks->push_back(block);
        blocks_.push_back(block);
        from = shape.bottleneck ? kExpansion * width : width;
      }
    }
    output_ = register_module("fc", torch::nn::Linear(from, shape.outputs));
    start();
  }

  /// x: [rows, channels, height, width]; the result: [rows, outputs].
  at::Tensor forward(at::Tensor x, const ModelBatch& batch) {
    x = stem_norm_(stem_(x), batch, {.other = nullptr, .relu = true});
    if (!small_stem_) x = at::max_pool2d(x, 3, 2, 1);
    for (const auto& block : blocks_) x = block->forward(x, batch);
    return linear(x.mean({2, 3}), output_, batch);
  }

 private:
  /// He's start: normal, by what goes out of a convolution.
  void start() {
    for (auto& parameter : named_parameters()) {
      if (parameter.value().dim() == 4)
        torch::nn::init::kaiming_normal_(parameter.value(), 0, torch::kFanOut, torch::kReLU);
    }
  }

  bool small_stem_;
  torch::nn::Conv2d stem_;
  Norm stem_norm_;
  std::vector<std::shared_ptr<Block>> blocks_;
  torch::nn::Linear output_{nullptr};
};

ResnetShape shape_of(const ModelContext& context, const TensorSpec& input) {
  const auto& image = input.shape;
  if (input.kind != TensorSpec::Kind::kFloat32 || (image.size() != 2 && image.size() != 3)) {
    fail(ErrorCode::kConfig,
         "the resnet takes float images [height, width] or [channels, height, width]; '{}' has {} dimensions",
         input.name, image.size());
  }
  ResnetShape shape;
  const auto depth = context.options.at("depth").get<std::int64_t>();
  shape.bottleneck = depth == 50;
  shape.blocks =
      depth == 18 ? std::array<std::int64_t, 4>{2, 2, 2, 2} : std::array<std::int64_t, 4>{3, 4, 6, 3};
  if (depth != 18 && depth != 34 && depth != 50)
    fail(ErrorCode::kConfig, "model.depth is {}; known: 18, 34, 50", depth);
  shape.width = context.options.at("width").get<std::int64_t>();
  if (shape.width < 1 || shape.width > 1 << 16)
    fail(ErrorCode::kConfig, "model.width is {}; it is at least 1 and at most 65536", shape.width);
  shape.channels = image.size() == 3 ? image[0] : 1;
  shape.outputs = context.outputs;
  shape.norm = context.options.at("norm").get<std::string>();
  const auto stem = context.options.at("stem").get<std::string>();
  constexpr std::int64_t kFewPixels = 64;
  const std::int64_t side = std::min(image[image.size() - 2], image.back());
  shape.small_stem = stem == "small" || (stem == "auto" && side < kFewPixels);
  return shape;
}

class Resnet : public Model {
 public:
  explicit Resnet(const ModelContext& context)
      : input_(context.only_input().name),
        channels_last_(context.options.at("channels_last").get<bool>()),
        shape_(shape_of(context, context.only_input())),
        image_(context.only_input().shape),
        net_(std::make_shared<ResnetNet>(shape_)) {
    if (channels_last_) lay_channels_last(*net_);
  }

  torch::nn::Module& module() override { return *net_; }

  at::Tensor forward(const ModelBatch& batch) override {
    at::Tensor x =
        batch.get(input_).view({batch.rows(), shape_.channels, image_[image_.size() - 2], image_.back()});
    if (channels_last_) x = with_channels_last(x);
    x = net_->forward(x, batch);
    return shape_.outputs == 1 ? x.squeeze(1) : x;
  }

 private:
  std::string input_;
  bool channels_last_;
  ResnetShape shape_;
  std::vector<std::int64_t> image_;
  std::shared_ptr<ResnetNet> net_;
};

const bool kRegistered = models().add(
    "resnet",
    {{{"depth", OptionType::kUnsigned, 18, "layers: 18, 34 or 50", {}},
      {"width",
       OptionType::kUnsigned,
       64,
       "channels of the first stage; each of the next three doubles them",
       {}},
      {"stem",
       OptionType::kText,
       "auto",
       "what comes first: a 7x7 convolution and a pooling, which quarter the image, or one 3x3 convolution, "
       "which "
       "keeps its size; auto: small below 64 pixels",
       {"auto", "large", "small"}},
      norm_option(),
      {"channels_last", OptionType::kBoolean, true, "how images lie in memory: faster on most machines", {}}},
     [](const ModelContext& context) { return std::make_unique<Resnet>(context); },
     "a residual network over one image input, [height, width] or [channels, height, width]"});

}  // namespace

}  // namespace muster
