// The kernels of libmuster_cuda against the same made of LibTorch's operators in float64 on the CPU: random
// shapes, of all types, forward and backward. Skips where there is no GPU.

#include "models/gpu_operators.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "core/random.h"
#include "trainer/comm/gpu_module.h"

namespace muster {
namespace {

double distance(const at::Tensor& made, const at::Tensor& right) {
  const at::Tensor ours = made.detach().to(at::kCPU, at::kDouble), theirs = right.detach().to(at::kDouble);
  EXPECT_EQ(ours.sizes(), theirs.sizes());
  const double norm = theirs.norm().item<double>();
  return (ours - theirs).norm().item<double>() / std::max(norm, 1e-30);
}

/// Of results that are rounded to the type once.
double tolerance(at::ScalarType type) { return type == at::kFloat ? 2e-5 : type == at::kHalf ? 2e-3 : 1e-2; }

const std::vector<at::ScalarType>& types() {
  static const std::vector<at::ScalarType> types{at::kFloat, at::kBFloat16, at::kHalf};
  return types;
}

class GpuOperators : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    gpus() = load_gpu_module(std::filesystem::read_symlink("/proc/self/exe"));
    if (gpus().gpus && gpus().gpus->count() > 0) gpus().gpus->select(0);
  }
  void SetUp() override {
    if (!gpus().gpus || gpus().gpus->count() == 0) GTEST_SKIP() << "no GPU";
    torch::manual_seed(7);
  }
  static GpuModule& gpus() {
    static GpuModule module;
    return module;
  }
  std::int64_t below(std::int64_t end) {
    return static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(end)));
  }
  /// Of the type, on the GPU, and the same values in float64 on the CPU; both want gradients.
  struct Pair {
    at::Tensor gpu, cpu;
  };
  static Pair pair(const at::Tensor& values, at::ScalarType type) {
    const at::Tensor rounded = values.to(type);
    return {rounded.to(at::kCUDA).detach().requires_grad_(true),
            rounded.to(at::kDouble).detach().requires_grad_(true)};
  }

  RandomStream random_{11};
  std::map<std::string, int> hit_;  ///< edges, by name

  void TearDown() override {
    for (const auto& [edge, times] : hit_) {
      std::printf("  %s: %d times\n", edge.c_str(), times);
      EXPECT_GT(times, 0) << edge;
    }
  }
};

TEST_F(GpuOperators, CrossEntropy) {
  hit_ = {{"rows of whole packs", 0}, {"rows of broken packs", 0},     {"one class", 0},
          {"large scores", 0},        {"rows that share a weight", 0}, {"masked scores", 0}};
  for (int round = 0; round < 60; ++round) {
    const at::ScalarType type = types()[static_cast<std::size_t>(below(3))];
    const std::int64_t rows = 1 + below(40);
    const std::int64_t classes = round % 10 == 0  ? 1
                                 : round % 3 == 0 ? 8 * (1 + below(900))
                                                  : 1 + below(9000);
    const double spread = below(4) == 0 ? 60 : 2;
    ++hit_[classes % 8 == 0 ? "rows of whole packs" : "rows of broken packs"];
    hit_["one class"] += classes == 1;
    hit_["large scores"] += spread > 2;
    const std::int64_t per_weight = below(3) == 0 ? 1 + below(5) : 1;
    hit_["rows that share a weight"] += per_weight > 1;
    const std::int64_t all = rows * per_weight;
    at::Tensor values = at::randn({all, classes}) * spread;
    const at::Tensor right = at::randint(classes, {all}, at::kLong);
    const bool masked = classes > 20 && below(3) == 0;
    hit_["masked scores"] += masked;
    if (masked) {
      values.narrow(1, 0, classes / 2).fill_(-std::numeric_limits<double>::infinity());
      values.scatter_(1, right.unsqueeze(1), 0.5);
    }
    const Pair scores = pair(values, type);
    const at::Tensor weights = at::rand({rows});
    const at::Tensor ours = gpu_cross_entropy(scores.gpu, right.to(at::kCUDA), weights.to(at::kCUDA));
    const at::Tensor each = weights.to(at::kDouble).repeat_interleave(per_weight);
    const at::Tensor theirs =
        (at::cross_entropy_loss(scores.cpu, right, {}, at::Reduction::None) * each).sum();
    ours.backward(at::tensor({0.5, 7.0}, at::kDouble).to(at::kCUDA));
    (theirs * 0.5).backward();
    EXPECT_NEAR(ours[1].item<double>(), each.sum().item<double>(), 1e-9);
    if (classes == 1) {
      EXPECT_NEAR(ours[0].item<double>(), 0, 1e-4);
      EXPECT_LT(scores.gpu.grad().abs().max().item<double>(), 1e-5);
      continue;
    }
    EXPECT_NEAR(ours[0].item<double>() / theirs.item<double>(), 1, 1e-5) << all << " rows of " << classes;
    EXPECT_LT(distance(scores.gpu.grad(), scores.cpu.grad()), tolerance(type))
        << all << " rows of " << classes;
    EXPECT_EQ(scores.gpu.grad().scalar_type(), type);
  }
  const auto loss_of = [](const at::Tensor& scores, std::initializer_list<std::int64_t> right) {
    const at::Tensor classes_of = at::tensor(std::vector<std::int64_t>(right), at::kLong).to(at::kCUDA);
    return gpu_cross_entropy(scores, classes_of, at::ones({scores.size(0)}, at::kCUDA))[0].item<double>();
  };
  EXPECT_EQ(loss_of(at::zeros({0, 5}, at::kCUDA), {}), 0);
  EXPECT_NEAR(loss_of(at::zeros({2, 5}, at::kCUDA), {4, 0}), 2 * std::log(5.0), 1e-5);
  EXPECT_TRUE(std::isnan(loss_of(at::zeros({2, 5}, at::kCUDA), {4, 5})));
}

TEST_F(GpuOperators, ColumnSums) {
  hit_ = {{"columns of whole packs", 0}, {"columns of broken packs", 0}, {"few rows", 0}};
  for (int round = 0; round < 40; ++round) {
    const at::ScalarType type = types()[static_cast<std::size_t>(below(3))];
    const std::int64_t rows = below(3) == 0 ? 1 + below(8) : 1 + below(20000);
    const std::int64_t columns = below(4) == 0 ? 1 + below(50) : 8 * (1 + below(400));
    ++hit_[columns % 8 == 0 ? "columns of whole packs" : "columns of broken packs"];
    hit_["few rows"] += rows < 9;
    const Pair x = pair(at::randn({rows, columns}) + 1, type);
    EXPECT_LT(distance(gpu_column_sums(x.gpu.detach()), x.cpu.sum(0)), 1e-5) << rows << " by " << columns;
  }
}

TEST_F(GpuOperators, DropoutMask) {
  hit_ = {{"rows of whole fours", 0}, {"rows of broken fours", 0}};
  for (int round = 0; round < 12; ++round) {
    const std::int64_t rows = 1 + below(20), per_row = 1 + below(3000);
    ++hit_[per_row % 4 == 0 ? "rows of whole fours" : "rows of broken fours"];
    std::vector<std::int64_t> keys;
    for (std::int64_t row = 0; row < rows; ++row) keys.push_back(static_cast<std::int64_t>(random_()));
    constexpr std::uint64_t kKeepBelow = 3'000'000'000;
    const at::Tensor mask =
        gpu_dropout_mask(at::tensor(keys, at::kLong).to(at::kCUDA), per_row, kKeepBelow, 1.5F).to(at::kCPU);
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t i = row % 7; i < per_row; i += 7) {
        const auto words = philox(static_cast<std::uint64_t>(keys[static_cast<std::size_t>(row)]),
                                  static_cast<std::uint64_t>(i) / 4);
        const float right = words[static_cast<std::size_t>(i % 4)] < kKeepBelow ? 1.5F : 0.0F;
        ASSERT_EQ(mask[row][i].item<float>(), right) << row << ", " << i;
      }
    }
  }
}

TEST_F(GpuOperators, AddNorm) {
  hit_ = {
      {"the sum has a gradient too", 0}, {"the norm alone has one", 0}, {"broken widths", 0}, {"widest", 0}};
  for (int round = 0; round < 60; ++round) {
    const at::ScalarType type = types()[static_cast<std::size_t>(below(3))];
    const at::ScalarType delta_type = below(2) == 0 ? at::kFloat : type;
    constexpr std::array<std::int64_t, 6> kWidths{4, 100, 512, 768, 1604, 2048};  // each is a program
    const std::int64_t width = kWidths[static_cast<std::size_t>(below(6))], rows = 1 + below(3000);
    hit_["broken widths"] += width % 128 != 0;
    hit_["widest"] += width == 2048;
    const Pair x = pair(at::randn({rows, width}) + 3, at::kFloat),
               delta = pair(at::randn({rows, width}), delta_type);
    const Pair weight = pair(at::randn({width}), at::kFloat), bias = pair(at::randn({width}), at::kFloat);
    ASSERT_TRUE(has_gpu_add_norm(x.gpu, delta.gpu, type));
    const auto [our_sum, our_normal] = gpu_add_norm(x.gpu, delta.gpu, weight.gpu, bias.gpu, type);
    const at::Tensor sum = x.cpu + delta.cpu;
    const at::Tensor normal = at::layer_norm(sum, {width}, weight.cpu, bias.cpu, 1e-5);
    EXPECT_LT(distance(our_sum, sum), 1e-6);
    EXPECT_LT(distance(our_normal, normal), tolerance(type));
    EXPECT_EQ(our_normal.scalar_type(), type);
    const at::Tensor up = at::randn({rows, width}).to(type), other = at::randn({rows, width});
    const bool both = below(2) == 0;
    ++hit_[both ? "the sum has a gradient too" : "the norm alone has one"];
    at::Tensor our_loss = (our_normal.to(at::kFloat) * up.to(at::kCUDA)).sum();
    at::Tensor their_loss = (normal * up.to(at::kDouble)).sum();
    if (both) {
      our_loss = our_loss + (our_sum * other.to(at::kCUDA)).sum();
      their_loss = their_loss + (sum * other.to(at::kDouble)).sum();
    }
    our_loss.backward();
    their_loss.backward();
    const auto close = [&](const Pair& of, double most) {
      EXPECT_LT(distance(of.gpu.grad(), of.cpu.grad()), most) << rows << " rows of " << width;
    };
    close(x, 2e-5);
    close(delta, tolerance(delta_type));
    close(weight, 2e-5);
    close(bias, 2e-5);
  }
}

TEST_F(GpuOperators, BatchNorm) {
  hit_ = {{"something is added", 0},
          {"nothing is added", 0},
          {"relu", 0},
          {"no relu", 0},
          {"3-D", 0},
          {"rows alone", 0},
          {"one pixel", 0},
          {"far from zero", 0},
          {"more channels than a block has", 0}};
  for (int round = 0; round < 90; ++round) {
    const at::ScalarType type = types()[static_cast<std::size_t>(below(3))];
    const std::int64_t channels = 8 * (below(5) == 0 ? 1 + below(256) : 1 + below(24)), rows = 2 + below(8);
    const std::int64_t kind = below(4), side = kind == 3 ? 1 : 1 + below(20);
    std::vector<std::int64_t> sizes{rows, channels};
    for (std::int64_t i = 0; kind != 0 && i < (kind == 1 ? 3 : 2); ++i) sizes.push_back(side);
    const bool adds = below(2) == 0, relu = below(3) > 0, far = type == at::kFloat && below(3) == 0;
    ++hit_[adds ? "something is added" : "nothing is added"];
    ++hit_[relu ? "relu" : "no relu"];
    hit_["3-D"] += kind == 1;
    hit_["rows alone"] += kind == 0;
    hit_["one pixel"] += kind == 3;
    hit_["far from zero"] += far;
    hit_["more channels than a block has"] += channels > 256;
    const auto lay = [&](at::Tensor tensor) {
      if (kind == 0) return tensor;
      return tensor.contiguous(kind == 1 ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::ChannelsLast);
    };
    const Pair x = pair(lay(at::randn(sizes) + (far ? 100 : 0.5)), type),
               other = pair(lay(at::randn(sizes)), type);
    const Pair weight = pair(at::randn({channels}), at::kFloat),
               bias = pair(at::randn({channels}), at::kFloat);
    ASSERT_TRUE(has_gpu_batch_norm(x.gpu, adds ? &other.gpu : nullptr));
    const auto [ours, our_mean, our_inverse] =
        gpu_batch_norm(x.gpu, adds ? &other.gpu : nullptr, weight.gpu, bias.gpu, relu, 1e-5);
    at::Tensor theirs = at::batch_norm(x.cpu, weight.cpu, bias.cpu, {}, {}, true, 0.1, 1e-5, false);
    if (adds) theirs = theirs + other.cpu;
    // Where rounding decides what relu lets through, the two may differ.
    const at::Tensor clear = theirs.detach().abs() > 1e-3;
    if (relu) theirs = at::relu(theirs);
    const double close = far ? 1e-4 : tolerance(type);
    EXPECT_LT(distance(ours, theirs), close) << channels << " channels, " << sizes;
    std::vector<std::int64_t> dims{0};
    for (std::int64_t i = 2; i < x.cpu.dim(); ++i) dims.push_back(i);
    const auto [variance, mean] = at::var_mean(x.cpu.detach(), dims, false);
    EXPECT_LT(distance(our_mean, mean), 1e-5);
    EXPECT_LT(distance(our_inverse, (variance + 1e-5).rsqrt()), far ? 1e-4 : 1e-5);
    const at::Tensor up = (lay(at::randn(sizes)) * clear).to(type);
    (ours * up.to(at::kCUDA)).to(at::kFloat).sum().backward();
    (theirs * up.to(at::kDouble)).sum().backward();
    const double sums_close = 4 * close;
    // A gradient that all but cancels (few values) says little in few bits.
    if (x.cpu.numel() / channels > 4) {
      EXPECT_LT(distance(x.gpu.grad(), x.cpu.grad()), sums_close) << channels << " channels, " << sizes;
    }
    if (adds) {
      EXPECT_LT(distance(other.gpu.grad(), other.cpu.grad()), close);
    }
    EXPECT_LT(distance(weight.gpu.grad(), weight.cpu.grad()), sums_close)
        << channels << " channels, " << sizes;
    EXPECT_LT(distance(bias.gpu.grad(), bias.cpu.grad()), close);
  }
}

}  // namespace
}  // namespace muster
