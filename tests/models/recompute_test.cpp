// What is computed again in the backward pass: the gradients of what is kept, to the bit, in less memory.
#include "models/recompute.h"

#include <ATen/autocast_mode.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/torch.h>

#include "models/autocast.h"
#include "tests/models/random_batch.h"

namespace muster {
namespace {

using testing::batch_at;
using testing::options_of;
using testing::range;

constexpr std::int64_t kVocabulary = 11;
constexpr std::int64_t kContext = 32;
constexpr std::uint32_t kRows = 6;
const std::vector<TensorSpec> kWindow{{"text", TensorSpec::Kind::kInt64, {kContext + 1}, {kVocabulary}}};

/// Bytes that LibTorch has allocated on this thread since it lives.
class MemoryMeter : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t, c10::Device) override {
    live_ += bytes;
    most_ = std::max(most_, live_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  std::int64_t live() const { return live_; }
  std::int64_t most() const { return most_; }

 private:
  std::int64_t live_ = 0;
  std::int64_t most_ = 0;
};

class CountingHook : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit CountingHook(int& count) : count_(count) {}
  void operator()(const torch::autograd::Variable&) override { ++count_; }

 private:
  int& count_;
};

struct Variant {
  Json options = Json::object();
  std::uint32_t micro_batch = kRows;
  bool bfloat16 = false;
  std::vector<std::string> frozen;
};

struct Pass {
  std::vector<std::pair<std::string, at::Tensor>> gradients;
  double loss = 0;
  std::int64_t kept = 0;  ///< bytes between forward and backward pass, at most
  std::int64_t most = 0;  ///< bytes at any time
};

std::unique_ptr<Model> make_gpt(const Variant& variant, bool recompute) {
  Json options = {{"layers", 4}, {"width", 24}, {"heads", 3}, {"dropout", 0.2}};
  for (const auto& [key, value] : variant.options.items()) options[key] = value;
  ModelContext context{options_of("gpt", options), kWindow, 1};
  context.recompute = recompute;
  auto model = make_model("gpt", context, 3);
  for (auto& parameter : model->module().named_parameters()) {
    for (const std::string& part : variant.frozen) {
      if (parameter.key().find(part) != std::string::npos) parameter.value().set_requires_grad(false);
    }
  }
  return model;
}

/// All micro-batches of one step.
Pass pass(const Variant& variant, bool recompute) {
  const auto model = make_gpt(variant, recompute);
  std::map<std::string, int> seen;
  for (auto& parameter : model->module().named_parameters()) {
    if (parameter.value().requires_grad())
      torch::autograd::impl::set_post_acc_grad_hooks(parameter.value(),
                                                     std::make_unique<CountingHook>(seen[parameter.key()]));
  }
  const Batch batch = batch_at(kWindow, kVocabulary, 5, range(0, kRows));
  const auto meter = std::make_shared<MemoryMeter>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, meter);
  Pass result;
  int micro_batches = 0;
  for (std::uint32_t first = 0; first < kRows; first += variant.micro_batch) {
    ++micro_batches;
    const ModelBatch inputs(batch, first, std::min(variant.micro_batch, kRows - first), true, 9);
    const auto autocast = [&] {
      AutocastState state = autocast_state();
      state.cpu = {variant.bfloat16, static_cast<int>(at::kBFloat16)};
      return state;
    };
    const std::int64_t before = meter->live();
    const at::Tensor scores = [&] {
      const AutocastScope scope(autocast());
      return model->forward(inputs).to(at::kFloat);
    }();
    result.kept = std::max(result.kept, meter->live() - before);
    const at::Tensor sums = model->loss(scores, inputs, {LossKind::kNextToken});
    sums[0].backward();
    result.loss += sums[0].item<double>();
  }
  result.most = meter->most();
  for (const auto& parameter : model->module().named_parameters()) {
    const at::Tensor& gradient = parameter.value().grad();
    EXPECT_EQ(gradient.defined(), parameter.value().requires_grad()) << parameter.key();
    if (!gradient.defined()) continue;
    result.gradients.emplace_back(parameter.key(), gradient);
    EXPECT_EQ(seen[parameter.key()], micro_batches) << "hooks of " << parameter.key();
  }
  return result;
}

TEST(RecomputeTest, GptHasTheSameBitsInLessMemory) {
  const std::vector<Variant> variants = {
      {},
      {{{"tied", false}, {"gelu", "tanh"}}, kRows, false, {}},
      {{}, 4, false, {}},
      {{}, kRows, true, {}},
      {{}, 4, true, {}},
      {{}, 4, false, {"tokens", "positions", "block_0"}},  // nothing before block 1 wants a gradient
      {{}, kRows, false, {"attention", "norm"}},           // parts of each block do
  };
  for (std::size_t i = 0; i < variants.size(); ++i) {
    const Pass kept = pass(variants[i], false);
    const Pass again = pass(variants[i], true);
    EXPECT_EQ(kept.loss, again.loss) << i;
    ASSERT_EQ(kept.gradients.size(), again.gradients.size()) << i;
    ASSERT_FALSE(kept.gradients.empty()) << i;
    for (std::size_t k = 0; k < kept.gradients.size(); ++k) {
      EXPECT_TRUE(at::equal(kept.gradients[k].second, again.gradients[k].second))
          << i << " " << kept.gradients[k].first;
      EXPECT_GT(kept.gradients[k].second.abs().max().item<float>(), 0) << kept.gradients[k].first;
    }
    std::cout << "variant " << i << ": kept " << kept.kept << " bytes, computed again " << again.kept
              << "; at most " << kept.most << ", " << again.most << '\n';
    EXPECT_LT(again.kept, kept.kept / 3) << i;
    EXPECT_LT(again.most, kept.most * 2 / 3) << i;
  }
}

TEST(RecomputeTest, EvaluatesAsEver) {
  const Batch batch = batch_at(kWindow, kVocabulary, 5, range(0, kRows));
  const ModelBatch inputs(batch, 0, kRows, false, 9);
  const torch::NoGradGuard no_grad;
  const at::Tensor scores = make_gpt({}, true)->forward(inputs);
  EXPECT_TRUE(at::equal(scores, make_gpt({}, false)->forward(inputs)));
  EXPECT_FALSE(scores.requires_grad());
}

TEST(RecomputeTest, AWeightOfTwoPartsAndOfTheRestIsSummedAndToldOnce) {
  const at::Tensor weight = at::full({3, 3}, 0.3F).fill_diagonal_(-0.2).set_requires_grad(true);
  const at::Tensor unused = at::ones({2}).set_requires_grad(true);
  int told = 0;
  torch::autograd::impl::set_post_acc_grad_hooks(weight, std::make_unique<CountingHook>(told));
  const at::Tensor x = at::arange(6, at::kFloat).view({2, 3}).set_requires_grad(true);
  const auto body = [&](const at::Tensor& in) { return at::tanh(at::mm(in, weight)) + in; };
  const auto net = [&](bool again) {
    const auto part = [&](const at::Tensor& in) {
      return again ? recomputed(in, {weight, unused}, body) : body(in);
    };
    return (part(part(x)) * weight.sum()).sum();
  };
  std::vector<at::Tensor> gradients;
  for (const bool again : {false, true}) {
    weight.mutable_grad().reset();
    x.mutable_grad().reset();
    net(again).backward();
    gradients.push_back(weight.grad());
    gradients.push_back(x.grad());
  }
  EXPECT_EQ(told, 2);
  EXPECT_TRUE(at::allclose(gradients[0], gradients[2]));
  EXPECT_TRUE(at::equal(gradients[1], gradients[3]));
  EXPECT_FALSE(unused.grad().defined() && unused.grad().abs().max().item<float>() > 0);
}

TEST(RecomputeTest, RunsAgainAsItRanFirst) {
  const at::Tensor weight = at::ones({4, 4}).set_requires_grad(true);
  std::vector<std::pair<at::ScalarType, bool>> runs;
  const auto body = [&](const at::Tensor& in) {
    at::Tensor y = at::mm(in, weight);
    runs.emplace_back(y.scalar_type(), at::GradMode::is_enabled());
    return y;
  };
  AutocastState low = autocast_state();
  low.cpu = {true, static_cast<int>(at::kBFloat16)};
  at::Tensor y;
  {
    const AutocastScope scope(low);
    y = recomputed(at::ones({2, 4}), {weight}, body);
  }
  y.sum().backward();
  EXPECT_EQ(runs,
            (std::vector<std::pair<at::ScalarType, bool>>{{at::kBFloat16, false}, {at::kBFloat16, true}}));
  EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
  EXPECT_EQ(weight.grad().scalar_type(), at::kFloat);

  runs.clear();
  const torch::NoGradGuard no_grad;
  EXPECT_FALSE(recomputed(at::ones({2, 4}), {weight}, body).requires_grad());
  EXPECT_EQ(runs.size(), 1U);
}

TEST(RecomputeTest, FailuresOfTheSecondRunAreBackwards) {
  const at::Tensor weight = at::ones({4}).set_requires_grad(true);
  bool first = true;
  AutocastState low = autocast_state();
  low.cpu = {true, static_cast<int>(at::kBFloat16)};
  const at::Tensor y = [&] {
    const AutocastScope scope(low);
    return recomputed(at::ones({4}), {weight}, [&](const at::Tensor& in) {
      if (!std::exchange(first, false)) fail(ErrorCode::kData, "the second time");
      return in * weight;
    });
  }();
  try {
    y.sum().backward();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
  }
  EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
  EXPECT_FALSE(weight.grad().defined());
}

TEST(RecomputeTest, WritesInBetweenAndSecondDerivativesAreRefused) {
  const auto body = [](const at::Tensor& weight) {
    return [weight](const at::Tensor& in) { return in * weight; };
  };
  at::Tensor weight = at::ones({4}).set_requires_grad(true);
  const at::Tensor y = recomputed(at::ones({4}), {weight}, body(weight));
  {
    const torch::NoGradGuard no_grad;
    weight.add_(1);
  }
  EXPECT_THROW(y.sum().backward(), c10::Error);

  const at::Tensor z = recomputed(at::ones({4}), {weight}, body(weight));
  EXPECT_THROW(torch::autograd::grad({z.sum()}, {weight}, {}, true, /*create_graph=*/true), Error);
}

}  // namespace
}  // namespace muster
