// A small convolutional network for images.

#include <torch/torch.h>

#include <algorithm>

#include "models/dropout.h"
#include "models/linear.h"
#include "models/model.h"
#include "models/norm.h"

namespace muster {

namespace {

struct ConvnetShape {
  std::int64_t channels = 1;
  std::int64_t height = 0;
  std::int64_t width = 0;
};

struct ConvnetSizes {
  std::vector<std::int64_t> channels;
  std::int64_t hidden = 0;
  std::int64_t outputs = 0;
  bool normalize = true;
};

class ConvnetNet : public torch::nn::Module {
 public:
  ConvnetNet(ConvnetShape image, const ConvnetSizes& sizes) {
    for (std::size_t i = 0; i < sizes.channels.size(); ++i) {
      const auto options = torch::nn::Conv2dOptions(image.channels, sizes.channels[i], 3).padding(1);
      convolutions.emplace_back(register_module(fmt::format("conv_{}", i), torch::nn::Conv2d(options)));
      image = {sizes.channels[i], image.height / 2, image.width / 2};
      if (!sizes.normalize) continue;
      const auto norm = torch::nn::GroupNormOptions(norm_groups(image.channels, 4, 8), image.channels);
      norms.emplace_back(register_module(fmt::format("norm_{}", i), torch::nn::GroupNorm(norm)));
    }
    const std::int64_t features = image.channels * image.height * image.width;
    hidden = register_module("hidden", torch::nn::Linear(features, sizes.hidden));
    output = register_module("output", torch::nn::Linear(sizes.hidden, sizes.outputs));
  }

  std::vector<torch::nn::Conv2d> convolutions;
  std::vector<torch::nn::GroupNorm> norms;
  torch::nn::Linear hidden{nullptr};
  torch::nn::Linear output{nullptr};
};

ConvnetShape image_shape(const TensorSpec& input, std::size_t poolings) {
  const auto& shape = input.shape;
  if (input.kind != TensorSpec::Kind::kFloat32 || (shape.size() != 2 && shape.size() != 3)) {
    fail(ErrorCode::kConfig,
         "the convnet takes float images [height, width] or [channels, height, width]; '{}' has {} "
         "dimensions",
         input.name, shape.size());
  }
  const ConvnetShape image{shape.size() == 3 ? shape[0] : 1, shape[shape.size() - 2],
                           shape[shape.size() - 1]};
  if (std::min(image.height, image.width) >> poolings < 1) {
    fail(ErrorCode::kConfig,
         "'{}' is {} x {}: too small for {} layers that each halve it; shorten model.channels", input.name,
         image.height, image.width, poolings);
  }
  return image;
}

class Convnet : public Model {
 public:
  explicit Convnet(const ModelContext& context)
      : input_(context.only_input().name), dropout_(context.options.at("dropout").get<double>()) {
    ConvnetSizes sizes{context.options.at("channels").get<std::vector<std::int64_t>>(),
                       context.options.at("hidden").get<std::int64_t>(), context.outputs,
                       context.options.at("norm") == "group"};
    if (sizes.channels.empty() || sizes.channels.size() > 16) {
      fail(ErrorCode::kConfig, "model.channels has {} layers; 1 to 16 are possible", sizes.channels.size());
    }
    for (const std::int64_t channels : sizes.channels) {
      if (channels < 1) fail(ErrorCode::kConfig, "model.channels has {}; channels are at least 1", channels);
    }
    if (sizes.hidden < 1) fail(ErrorCode::kConfig, "model.hidden is {}; it must be at least 1", sizes.hidden);
    if (!(dropout_ >= 0 && dropout_ < 1)) {
      fail(ErrorCode::kConfig, "model.dropout is {}; it must be at least 0 and below 1", dropout_);
    }
    image_ = image_shape(context.only_input(), sizes.channels.size());
    net_ = std::make_shared<ConvnetNet>(image_, sizes);
  }

  torch::nn::Module& module() override { return *net_; }

  at::Tensor forward(const ModelBatch& batch) override {
    at::Tensor x = batch.get(input_).view({batch.rows(), image_.channels, image_.height, image_.width});
    for (std::size_t i = 0; i < net_->convolutions.size(); ++i) {
      x = net_->convolutions[i](x);
      if (!net_->norms.empty()) x = net_->norms[i](x);
      x = at::max_pool2d(at::relu(x), 2);
    }
    x = keyed_dropout(at::relu(linear(x.flatten(1), net_->hidden, batch)), dropout_, batch, 0);
    x = linear(x, net_->output, batch);
    return x.size(1) == 1 ? x.squeeze(1) : x;
  }

 private:
  std::string input_;
  double dropout_;
  ConvnetShape image_;
  std::shared_ptr<ConvnetNet> net_;
};

const bool kRegistered = models().add(
    "convnet",
    {{{"channels",
       OptionType::kIntegerList,
       Json::array({32, 64}),
       "channels of the 3x3 convolutions; each is followed by a pooling that halves the image",
       {}},
      {"hidden", OptionType::kInteger, 128, "width of the fully connected layer before the output", {}},
      {"norm",
       OptionType::kText,
       "group",
       "after each convolution: group norm with up to 8 groups, or none",
       {"group", "none"}},
      {"dropout",
       OptionType::kNumber,
       0.0,
       "probability with which a value before the output is zeroed in training",
       {}}},
     [](const ModelContext& context) { return std::make_unique<Convnet>(context); },
     "convolutions and poolings over one image input, [height, width] or [channels, height, width]"});

}  // namespace

}  // namespace muster
