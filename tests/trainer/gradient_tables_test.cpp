// Tables of embeddings whose gradients are sparse, in the reducer.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>

#include "trainer/comm/local_communicator.h"
#include "trainer/gradients/gradient_reducer.h"

namespace muster {
namespace {

/// Two tables, one of which is used whole as well, and a dense parameter; `ids` are looked up.
class Tables : public torch::nn::Module {
 public:
  explicit Tables(bool sparse) {
    const auto options = torch::nn::EmbeddingOptions(40, 3).sparse(sparse);
    looked_up = register_module("looked_up", torch::nn::Embedding(options));
    used_whole = register_module("used_whole", torch::nn::Embedding(options));
    scale = register_parameter("scale", at::full({3}, 2.0F));
    const torch::NoGradGuard no_grad;
    for (const at::Tensor& parameter : parameters())
      parameter.copy_(at::arange(parameter.numel(), at::kFloat).view(parameter.sizes()) / 50);
  }
  at::Tensor loss(const std::vector<std::int64_t>& ids, bool whole) {
    const at::Tensor rows = at::tensor(ids, at::kLong);
    at::Tensor sum = (looked_up(rows) * scale).square().sum() + used_whole(rows).square().sum();
    return whole ? sum + used_whole->weight.square().sum() : sum;
  }
  torch::nn::Embedding looked_up{nullptr}, used_whole{nullptr};
  at::Tensor scale;
};

/// Two steps of three ranks; of what each rank's micro-batches look up, the last has nothing.
std::vector<at::Tensor> gradients_of_tables(bool sparse, bool old_plan, std::uint64_t& by_rows) {
  const std::vector<std::vector<std::vector<std::int64_t>>> of_ranks{
      {{1, 3, 1}, {3, 7}}, {{39}, {0, 3, 0}}, {}};
  std::vector<at::Tensor> seen;
  run_local(3, [&](Communicator& comm) {
    Tables net(sparse);
    BucketPlan plan = initial_bucket_plan(net);
    if (old_plan) plan = {{{2, 1}, {0}}, false};  // as before tables had buckets of their own
    GradientReducer reducer(net, comm, plan);
    for (int step = 0; step < 2; ++step) {
      reducer.begin_step();
      auto ids = of_ranks[static_cast<std::size_t>(comm.rank())];
      if (step == 1) std::ranges::reverse(ids);
      for (const auto& micro_batch : ids) {
        if (&micro_batch == &ids.back()) reducer.ready();
        net.loss(micro_batch, step == 1).backward();
      }
      reducer.finish(3);
      if (comm.rank() == 2) {
        for (const at::Tensor& parameter : net.parameters()) seen.push_back(parameter.grad().clone());
        by_rows = reducer.sums_by_rows();
      }
      reducer.replan_once();
    }
  });
  return seen;
}

TEST(GradientTablesTest, TablesAreExchangedByRows) {
  std::uint64_t dense_by_rows = 0, by_rows = 0, old_by_rows = 0;
  const auto dense = gradients_of_tables(false, false, dense_by_rows);
  const auto sparse = gradients_of_tables(true, false, by_rows);
  const auto old = gradients_of_tables(true, true, old_by_rows);
  ASSERT_EQ(sparse.size(), 6U);
  for (std::size_t i = 0; i < sparse.size(); ++i) {
    EXPECT_TRUE(at::allclose(sparse[i], dense[i], 1e-6, 1e-7)) << i << sparse[i] << dense[i];
    EXPECT_TRUE(at::allclose(old[i], dense[i], 1e-6, 1e-7)) << i;
    EXPECT_TRUE(sparse[i].abs().sum().item<float>() > 0);
  }
  EXPECT_EQ(dense_by_rows, 0U);
  EXPECT_EQ(by_rows, 3U);      // in the first step both, then the one that is only looked up
  EXPECT_EQ(old_by_rows, 1U);  // after the first step, when it has a plan of its own
}

TEST(GradientTablesTest, TablesWithSparseGradientsHaveBucketsOfTheirOwnAtTheEnd) {
  Tables net(true);
  EXPECT_EQ(initial_bucket_plan(net), (BucketPlan{{{0}, {2}, {1}}, false}));
  Tables dense(false);
  EXPECT_EQ(initial_bucket_plan(dense), (BucketPlan{{{2, 1, 0}}, false}));
}

}  // namespace
}  // namespace muster
