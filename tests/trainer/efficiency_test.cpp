// Counts of operations against formulas, and what is made of them.

#include "trainer/runlog/efficiency.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "core/process_memory.h"
#include "tests/models/random_batch.h"
#include "trainer/comm/local_communicator.h"
#include "trainer/runlog/flop_counter.h"

namespace muster {
namespace {

using testing::batch_at;
using testing::options_of;
using testing::range;
using testing::specs_of;

template <typename Body>
double flops_of(const Body& body) {
  const FlopCounter counter;
  body();
  return counter.count();
}

TEST(FlopCounterTest, CountsProductsAndConvolutions) {
  const at::Tensor a = at::ones({3, 5}), b = at::ones({5, 7}), batch = at::ones({2, 3, 5});
  EXPECT_EQ(flops_of([&] { at::mm(a, b); }), 2 * 3 * 5 * 7);
  EXPECT_EQ(flops_of([&] { at::linear(a, b.t().contiguous(), at::ones({7})); }), 2 * 3 * 5 * 7);
  EXPECT_EQ(flops_of([&] { at::matmul(batch, b); }), 2 * 2 * 3 * 5 * 7);
  EXPECT_EQ(flops_of([&] { at::bmm(batch, at::ones({2, 5, 7})); }), 2 * 2 * 3 * 5 * 7);
  EXPECT_EQ(flops_of([&] { at::relu(a) + a; }), 0);
  const at::Tensor image = at::ones({2, 4, 9, 11});
  EXPECT_EQ(flops_of([&] {
              at::conv2d(image, at::ones({6, 2, 3, 3}), {}, {2, 1}, {1, 0}, {1, 2}, 2);
            }),
            2.0 * 2 * 6 * 5 * 7 * 2 * 9);
  EXPECT_EQ(flops_of([&] {
              at::conv_transpose2d(image, at::ones({4, 6, 3, 3}));
            }),
            2.0 * 2 * 9 * 11 * 4 * 6 * 9);
  EXPECT_EQ(flops_of([&] {
              at::conv3d(at::ones({1, 2, 4, 4, 4}), at::ones({3, 2, 2, 2, 2}));
            }),
            2.0 * 27 * 3 * 2 * 8);
}

TEST(FlopCounterTest, WhatAutocastCallsInFewerBitsIsCountedOnce) {
  const at::Tensor a = at::ones({3, 5}), b = at::ones({5, 7});
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const double products = flops_of([&] {
    for (int i = 0; i < 2; ++i) at::addmm(at::ones({7}), a, b);
    at::mm(a, b);
  });
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_EQ(products, 3 * 2 * 3 * 5 * 7);
}

TEST(FlopCounterTest, CountsTheModelsAsTheirAuthorsDo) {
  const torch::NoGradGuard no_grad;
  const auto forward = [](const std::string& name, const Json& changes, const std::vector<TensorSpec>& inputs,
                          std::int64_t outputs) {
    const auto specs = specs_of(inputs, outputs);
    const auto model = make_model(name, {options_of(name, changes), specs, outputs}, 1);
    const Batch batch = batch_at(specs, outputs, 0, range(0, 2));
    return flops_of([&] { model->forward(ModelBatch(batch, 0, 2, true, 1)); }) / 2;
  };
  // He et al. 2015, table 1: 1.8 and 3.8 billion multiplications and additions; 4.1 with the stride in the
  // 3x3 convolution.
  const std::vector<TensorSpec> image{{"image", TensorSpec::Kind::kFloat32, {3, 224, 224}}};
  EXPECT_NEAR(forward("resnet", {{"depth", 18}}, image, 1000), 2 * 1.82e9, 0.02e9);
  EXPECT_NEAR(forward("resnet", {{"depth", 50}}, image, 1000), 2 * 4.09e9, 0.04e9);
  // 2 for each weight and token but the positions', and 4 tokens² a layer and number of the width.
  TensorSpec window{"window", TensorSpec::Kind::kInt64, {65}};
  window.ids = {100};
  const double blocks = 2 * 64.0 * 3 * (12 * 32 * 32), output = 2 * 64.0 * 100 * 32,
               attention = 3 * 4.0 * 64 * 64 * 32;
  EXPECT_EQ(forward("gpt", {{"layers", 3}, {"width", 32}, {"heads", 2}}, {window}, 100),
            blocks + output + attention);
}

TEST(FlopCounterTest, OthersThreadsAndLaterWorkAreNotCounted) {
  const at::Tensor a = at::ones({3, 5}), b = at::ones({5, 7});
  double outside = 0;
  EXPECT_EQ(flops_of([&] { std::thread([&] { outside = flops_of([&] { at::mm(a, b); }); }).join(); }), 0);
  EXPECT_EQ(outside, 210);
  at::mm(a, b);
  EXPECT_EQ(flops_of([] {}), 0);
}

TEST(EfficiencyTest, TellsOfTheStepsSinceTheLastTime) {
  run_local(2, [](Communicator& comm) {
    Efficiency efficiency;
    RankUse mine{100U + static_cast<unsigned>(comm.rank()), 200, 0, std::nullopt};
    EXPECT_FALSE(efficiency.take(comm, mine).has_value());
    efficiency.note_forward(40);
    efficiency.count_operations(comm, 8, 1000);
    EXPECT_EQ(efficiency.flops_per_row(), 30);  // 3 times 80 of 8 rows
    const std::vector<StepSeconds> ranks{{0, 1}, {0, 3}};
    efficiency.note_step(8, 0.5, {0.1, 0.2}, ranks);
    efficiency.note_step(4, 0.25, {0.05, 0}, ranks);
    const auto told = efficiency.take(comm, mine);
    ASSERT_TRUE(told.has_value());
    EXPECT_EQ(told->steps, 2U);
    EXPECT_DOUBLE_EQ(told->step_seconds, 0.375);
    EXPECT_DOUBLE_EQ(told->flops_per_step, 180);
    EXPECT_DOUBLE_EQ(told->flops_per_second, 480);
    EXPECT_DOUBLE_EQ(told->utilization.value(), 0.24);  // of 2 ranks
    EXPECT_NEAR(told->data_share, 0.2, 1e-12);
    EXPECT_NEAR(told->communication_share, 0.2 / 0.75, 1e-12);
    EXPECT_DOUBLE_EQ(told->skew, 1.5);
    EXPECT_EQ(told->resident_bytes, (std::vector<std::uint64_t>{100, 101}));
    EXPECT_TRUE(told->gpu_peak_bytes.empty());
    EXPECT_TRUE(told->gpu_wait_shares.empty());
    EXPECT_FALSE(efficiency.take(comm, mine).has_value());
    mine.gpu_peak_bytes = 7;
    for (const double seconds : {0.5, 0.5, 1.0}) {  // 0.25 a second for rank 0, twice that for rank 1
      mine.gpu_wait_seconds = mine.gpu_wait_seconds.value_or(0) + seconds * 0.25 * (comm.rank() + 1);
      efficiency.note_step(8, seconds, {}, ranks);
      const auto on_gpus = efficiency.take(comm, mine);
      ASSERT_TRUE(on_gpus.has_value());
      EXPECT_EQ(on_gpus->gpu_peak_bytes, (std::vector<std::uint64_t>{7, 7}));
      ASSERT_EQ(on_gpus->gpu_wait_shares.size(), 2U);
      EXPECT_NEAR(on_gpus->gpu_wait_shares[0], 0.25, 1e-12);
      EXPECT_NEAR(on_gpus->gpu_wait_shares[1], 0.5, 1e-12);
    }
  });
}

TEST(EfficiencyTest, KnowsTheGpusThatItKnows) {
  EXPECT_EQ(peak_flops("NVIDIA H100 80GB HBM3", "bfloat16"), 989e12);
  EXPECT_EQ(peak_flops("NVIDIA H100 PCIe", "bfloat16"), 756e12);
  EXPECT_EQ(peak_flops("NVIDIA A100-SXM4-80GB", "float32"), 19.5e12);
  EXPECT_EQ(peak_flops("NVIDIA L4", "bfloat16"), 121e12);
  for (const char* other : {"NVIDIA Whatever", "NVIDIA L40", "NVIDIA RTX A1000", "NVIDIA RTX A100X"})
    EXPECT_EQ(peak_flops(other, "bfloat16"), 0) << other;
}

TEST(ProcessMemoryTest, GrowsWithWhatIsUsed) {
  const ProcessMemory before = process_memory();
  EXPECT_GT(before.resident_bytes, 1U << 20);
  EXPECT_GE(before.peak_bytes, before.resident_bytes);
  constexpr std::size_t kBytes = std::size_t{200} << 20;
  const std::vector<char> used(kBytes, 1);
  EXPECT_GE(process_memory().peak_bytes,
            before.resident_bytes + kBytes / 2 + static_cast<std::size_t>(used[7] - 1));
}

}  // namespace
}  // namespace muster
