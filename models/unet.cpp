// U-Net: Ronneberger, Fischer, Brox, "U-Net: Convolutional networks for biomedical image segmentation"
// (2015), and in three dimensions Çiçek et al. (2016): from arrays over a grid to an array over the same
// grid. Unlike there convolutions are padded, so that the grid keeps its size, and each is followed by a
// norm.

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "core/text.h"
#include "models/channels_last.h"
#include "models/model.h"
#include "models/norm.h"

namespace muster {
namespace {

struct UnetShape {
  std::vector<std::int64_t> grid;  ///< [height, width] or [depth, height, width]
  std::int64_t inputs = 0;         ///< channels of all inputs together
  std::int64_t outputs = 1;        ///< channels of the label
  std::int64_t width = 32;         ///< channels at full size; each level doubles them
  std::int64_t levels = 3;         ///< how often the grid is halved
  bool circular = false;           ///< beyond an edge comes the opposite one, not zeros
  std::string norm;
};

/// Of `size` cells along each dimension of the grid, that keeps the grid's size.
class Convolution : public torch::nn::Module {
 public:
  Convolution(const UnetShape& shape, std::int64_t from, std::int64_t to, std::int64_t size, bool bias)
      : flat_(shape.grid.size() == 2), circular_(shape.circular), border_(size / 2) {
    std::vector<std::int64_t> sizes{to, from};
    sizes.resize(2 + shape.grid.size(), size);
    const double values = static_cast<double>(from) * std::pow(size, shape.grid.size());
    // He et al. (2015): keeps the variance through a ReLU.
    weight_ = register_parameter("weight", at::randn(sizes) * std::sqrt((bias ? 1 : 2) / values));
    if (bias) bias_ = register_parameter("bias", at::zeros({to}));
  }

  at::Tensor forward(at::Tensor x) {
    std::int64_t padding = border_;
    if (circular_ && border_ > 0) {
      x = at::pad(x, std::vector<std::int64_t>(flat_ ? 4 : 6, border_), "circular");
      padding = 0;
    }
    return flat_ ? at::conv2d(x, weight_, bias_, 1, padding) : at::conv3d(x, weight_, bias_, 1, padding);
  }

 private:
  bool flat_;
  bool circular_;
  std::int64_t border_;
  at::Tensor weight_;
  at::Tensor bias_;
};

/// Doubles the grid: each cell becomes 2 along each dimension.
class UpConvolution : public torch::nn::Module {
 public:
  UpConvolution(const UnetShape& shape, std::int64_t from, std::int64_t to) : flat_(shape.grid.size() == 2) {
    std::vector<std::int64_t> sizes{from, to};
    sizes.resize(2 + shape.grid.size(), 2);
    weight_ = register_parameter("weight", at::randn(sizes) / std::sqrt(static_cast<double>(from)));
    bias_ = register_parameter("bias", at::zeros({to}));
  }

  at::Tensor forward(const at::Tensor& x) {
    return flat_ ? at::conv_transpose2d(x, weight_, bias_, 2) : at::conv_transpose3d(x, weight_, bias_, 2);
  }

 private:
  bool flat_;
  at::Tensor weight_;
  at::Tensor bias_;
};

/// Twice a 3x3 convolution, norm and ReLU.
class Block : public torch::nn::Module {
 public:
  Block(const UnetShape& shape, std::int64_t from, std::int64_t to) {
    for (const std::int64_t number : {1, 2}) {
      convolutions_.push_back(
          register_module(fmt::format("conv{}", number),
                          std::make_shared<Convolution>(shape, number == 1 ? from : to, to, 3, false)));
      norms_.emplace_back(*this, fmt::format("norm{}", number), to, shape.norm);
    }
  }

  at::Tensor forward(at::Tensor x, const ModelBatch& batch) {
    for (std::size_t i = 0; i < convolutions_.size(); ++i)
      x = norms_[i](convolutions_[i]->forward(x), batch, {.other = nullptr, .relu = true});
    return x;
  }

 private:
  std::vector<std::shared_ptr<Convolution>> convolutions_;
  std::vector<Norm> norms_;
};

class UnetNet : public torch::nn::Module {
 public:
  explicit UnetNet(const UnetShape& shape) {
    std::int64_t from = shape.inputs;
    for (std::int64_t level = 0; level < shape.levels; ++level) {
      const std::int64_t to = shape.width << level;
      down_.push_back(
          register_module(fmt::format("down{}", level), std::make_shared<Block>(shape, from, to)));
      from = to;
    }
    bottom_ = register_module("bottom", std::make_shared<Block>(shape, from, 2 * from));
    for (std::int64_t level = 0; level < shape.levels; ++level) {
      const std::int64_t to = shape.width << level;
      enlarge_.push_back(register_module(fmt::format("enlarge{}", level),
                                         std::make_shared<UpConvolution>(shape, 2 * to, to)));
      up_.push_back(register_module(fmt::format("up{}", level), std::make_shared<Block>(shape, 2 * to, to)));
    }
    output_ =
        register_module("output", std::make_shared<Convolution>(shape, shape.width, shape.outputs, 1, true));
  }

  /// x: [rows, inputs, grid…]; the result: [rows, outputs, grid…].
  at::Tensor forward(at::Tensor x, const ModelBatch& batch) {
    std::vector<at::Tensor> aside;
    for (const auto& block : down_) {
      x = block->forward(x, batch);
      aside.push_back(x);
      x = halved(x);
    }
    x = bottom_->forward(x, batch);
    for (std::size_t level = up_.size(); level-- > 0;) {
      x = cropped(enlarge_[level]->forward(x), aside[level]);
      x = up_[level]->forward(at::cat({aside[level], x}, 1), batch);
    }
    return output_->forward(x);
  }

 private:
  /// An odd extent's last cell is halved alone: nothing is left out and nothing made up.
  static at::Tensor halved(const at::Tensor& x) {
    return x.dim() == 4 ? at::max_pool2d(x, 2, 2, 0, 1, /*ceil_mode=*/true)
                        : at::max_pool3d(x, 2, 2, 0, 1, /*ceil_mode=*/true);
  }
  /// To the other's extents: where one was odd, enlarging made a cell too many.
  static at::Tensor cropped(at::Tensor x, const at::Tensor& as) {
    for (std::int64_t axis = 2; axis < x.dim(); ++axis) x = x.narrow(axis, 0, as.size(axis));
    return x;
  }

  std::vector<std::shared_ptr<Block>> down_;
  std::shared_ptr<Block> bottom_;
  std::vector<std::shared_ptr<UpConvolution>> enlarge_;
  std::vector<std::shared_ptr<Block>> up_;
  std::shared_ptr<Convolution> output_;
};

std::string text_of(const std::vector<std::int64_t>& shape) {
  std::vector<std::string> extents;
  for (const std::int64_t extent : shape) extents.push_back(fmt::to_string(extent));
  return "[" + join(extents, ", ") + "]";
}

/// The channels of an array over a grid: 1 where its shape is the grid's, the extent before that; 0 where it
/// is no array over the grid.
std::int64_t channels_over(const std::vector<std::int64_t>& grid, const std::vector<std::int64_t>& shape) {
  const bool with_channels = shape.size() == grid.size() + 1;
  if (!with_channels && shape.size() != grid.size()) return 0;
  if (!std::equal(grid.rbegin(), grid.rend(), shape.rbegin())) return 0;
  return with_channels ? shape.front() : 1;
}

/// The last dimensions of the label.
std::vector<std::int64_t> grid_of(const std::vector<std::int64_t>& label, std::uint64_t wanted) {
  if (label.empty())
    fail(ErrorCode::kConfig,
         "the unet predicts an array over a grid: it needs loss.kind mse and a label with a shape, as "
         "[height, "
         "width]");
  const std::uint64_t dimensions = wanted != 0 ? wanted : label.size() == 4 ? 3 : 2;
  if (dimensions != 2 && dimensions != 3)
    fail(ErrorCode::kConfig, "model.dimensions is {}; known: 0 (by the label's shape), 2, 3", wanted);
  if (label.size() != dimensions && label.size() != dimensions + 1)
    fail(ErrorCode::kConfig,
         "the unet predicts [height, width] or [depth, height, width], with channels before them or without: "
         "the "
         "label is {}{}",
         text_of(label), wanted != 0 ? fmt::format(", model.dimensions {}", wanted) : "");
  return {label.end() - static_cast<std::ptrdiff_t>(dimensions), label.end()};
}

UnetShape shape_of(const ModelContext& context) {
  const Json& options = context.options;
  UnetShape shape;
  shape.grid = grid_of(context.label_shape, options.at("dimensions").get<std::uint64_t>());
  shape.outputs = channels_over(shape.grid, context.label_shape);
  for (const TensorSpec* input : context.inputs()) {
    const std::int64_t channels = channels_over(shape.grid, input->shape);
    if (input->kind != TensorSpec::Kind::kFloat32 || channels == 0)
      fail(ErrorCode::kConfig,
           "the unet takes float arrays over the label's grid {}, with channels before it or without: '{}' "
           "is {}; "
           "data.features chooses others",
           text_of(shape.grid), input->name, text_of(input->shape));
    shape.inputs += channels;
  }
  const auto width = options.at("width").get<std::uint64_t>();
  const auto levels = options.at("levels").get<std::uint64_t>();
  if (width < 1 || width > 1 << 14)
    fail(ErrorCode::kConfig, "model.width is {}; it is at least 1 and at most {}", width, 1 << 14);
  const std::int64_t least = *std::ranges::min_element(shape.grid);
  if (levels < 1 || levels > 16 || least >> levels < 1)
    fail(ErrorCode::kConfig,
         "model.levels is {}; it is at least 1, and each halves the grid {}, of which a cell must be left",
         levels, text_of(shape.grid));
  shape.width = static_cast<std::int64_t>(width);
  shape.levels = static_cast<std::int64_t>(levels);
  shape.circular = options.at("padding") == "circular";
  shape.norm = options.at("norm").get<std::string>();
  return shape;
}

class Unet : public Model {
 public:
  explicit Unet(const ModelContext& context)
      : shape_(shape_of(context)),
        label_shape_(context.label_shape),
        channels_last_(context.options.at("channels_last").get<bool>()),
        net_(std::make_shared<UnetNet>(shape_)) {
    for (const TensorSpec* input : context.inputs()) inputs_.push_back(input->name);
    if (channels_last_) lay_channels_last(*net_);
  }

  torch::nn::Module& module() override { return *net_; }

  at::Tensor forward(const ModelBatch& batch) override {
    std::vector<at::Tensor> channels;
    for (const std::string& name : inputs_) {
      const at::Tensor input = batch.get(name);
      const bool plain = static_cast<std::size_t>(input.dim()) == shape_.grid.size() + 1;
      channels.push_back(plain ? input.unsqueeze(1) : input);
    }
    at::Tensor x = channels.size() == 1 ? channels.front() : at::cat(channels, 1);
    if (channels_last_) x = with_channels_last(x);
    x = net_->forward(x, batch);
    return label_shape_.size() == shape_.grid.size() ? x.squeeze(1) : x;
  }

 private:
  UnetShape shape_;
  std::vector<std::int64_t> label_shape_;
  bool channels_last_;
  std::vector<std::string> inputs_;
  std::shared_ptr<UnetNet> net_;
};

const bool kRegistered = models().add(
    "unet",
    {{{"width", OptionType::kUnsigned, 32, "channels at full size; each level doubles them", {}},
      {"levels", OptionType::kUnsigned, 3, "how often the grid is halved, and doubled again", {}},
      {"dimensions",
       OptionType::kUnsigned,
       0,
       "of the grid: 2 or 3; 0: by the label's shape, 2 for [height, width] and [channels, height, width], "
       "3 for [channels, depth, height, width]",
       {}},
      {"padding",
       OptionType::kText,
       "zeros",
       "what lies beyond the edges: zeros, or the opposite edge, for periodic fields",
       {"zeros", "circular"}},
      norm_option(),
      {"channels_last", OptionType::kBoolean, true, "how arrays lie in memory: faster on most machines", {}}},
     [](const ModelContext& context) { return std::make_unique<Unet>(context); },
     "a U-Net from arrays over a grid to an array over the same grid, in two or three dimensions; "
     "several inputs are stacked"});

}  // namespace
}  // namespace muster
