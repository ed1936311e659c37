#include "trainer/checkpoint/module_state.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "core/error.h"
#include "trainer/comm/local_communicator.h"

namespace muster {
namespace {

/// A tied weight, a column-major parameter, a frozen one, buffers of several types.
class MixedNet : public torch::nn::Module {
 public:
  explicit MixedNet(float fill) {
    inner = register_module("inner", torch::nn::Linear(3, 2));
    torch::NoGradGuard no_grad;
    inner->weight.fill_(fill);
    inner->bias.copy_(at::tensor({fill, fill + 1}));
    register_parameter("tied", inner->weight);
    turned = register_parameter("turned", at::arange(6, at::kFloat).view({2, 3}).t().mul(fill));
    register_parameter("half", at::full({2}, fill).to(at::kHalf), false);
    register_buffer("mean", at::full({2}, fill));
    register_buffer("count", at::full({}, static_cast<std::int64_t>(fill), at::kLong));
    register_buffer("seen", at::full({3}, fill > 1, at::kBool));
  }
  torch::nn::Linear inner{nullptr};
  at::Tensor turned;
};

std::vector<std::string> names(const std::vector<TensorBlob>& blobs) {
  std::vector<std::string> found;
  for (const TensorBlob& blob : blobs) found.push_back(blob.name + " " + blob.dtype);
  std::sort(found.begin(), found.end());
  return found;
}

TEST(ModuleStateTest, HoldsEveryTensorOnce) {
  MixedNet net(2);
  const auto blobs = module_state(net);
  EXPECT_EQ(names(blobs), (std::vector<std::string>{"count I64", "half F16", "inner.bias F32", "mean F32",
                                                    "seen BOOL", "tied F32", "turned F32"}));
  EXPECT_EQ(parameter_count(net), 6U + 2U + 6U + 2U);
  for (const TensorBlob& blob : blobs) {
    if (blob.name != "turned") continue;  // row-major, whatever the parameter's own layout
    const float expected[] = {0, 6, 2, 8, 4, 10};
    EXPECT_EQ(blob.shape, (std::vector<std::int64_t>{3, 2}));
    EXPECT_TRUE(std::ranges::equal(blob.data, std::as_bytes(std::span(expected))));
  }
}

TEST(ModuleStateTest, LoadsBackTheSameBits) {
  MixedNet net(2);
  MixedNet other(5);
  EXPECT_NE(module_state(net), module_state(other));
  load_module_state(other, module_state(net));
  EXPECT_EQ(module_state(net), module_state(other));
  EXPECT_TRUE(at::equal(other.turned, net.turned));
  EXPECT_TRUE(at::equal(other.inner->weight, net.inner->weight));
  EXPECT_TRUE(other.inner->weight.requires_grad());
}

TEST(ModuleStateTest, RefusesWhatDoesNotFitAndStaysAsItWas) {
  MixedNet net(2);
  const auto before = module_state(net);
  const auto good = [] {
    MixedNet other(5);
    return module_state(other);
  }();
  auto missing = good;
  missing.pop_back();
  auto extra = good;
  extra.push_back({"stranger", "F32", {1}, std::vector<std::byte>(4)});
  auto shape = good;
  shape[1].shape = {1, 2};
  auto type = good;
  type[0].dtype = "I32";
  for (const auto& [blobs, culprit] : {std::pair{missing, good.back().name},
                                       {extra, "stranger"},
                                       {shape, good[1].name},
                                       {type, good[0].name}}) {
    try {
      load_module_state(net, blobs);
      ADD_FAILURE() << culprit;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kStorage);
      EXPECT_NE(error.message().find("'" + culprit + "'"), std::string::npos) << error.message();
    }
    EXPECT_EQ(module_state(net), before) << culprit;
  }
}

TEST(ModuleStateTest, BroadcastGivesEveryRankTheStateOfTheFirst) {
  std::vector<std::vector<TensorBlob>> states(3);
  run_local(3, [&](Communicator& comm) {
    MixedNet net(static_cast<float>(comm.rank() + 1));
    broadcast_module(net, comm);
    states[static_cast<std::size_t>(comm.rank())] = module_state(net);
  });
  MixedNet first(1);
  for (const auto& state : states) EXPECT_EQ(state, module_state(first));
}

}  // namespace
}  // namespace muster
