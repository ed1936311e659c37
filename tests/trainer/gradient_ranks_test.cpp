// Gradients of several ranks against those of one on the same global batch.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <iostream>

#include "tests/models/random_batch.h"
#include "trainer/comm/local_communicator.h"
#include "trainer/gradients/gradient_reducer.h"

namespace muster {
namespace {

using testing::batch_at;
using testing::options_of;
using testing::specs_of;

constexpr std::uint64_t kSeed = 21;

struct Task {
  std::string model;
  Json options;
  std::vector<TensorSpec> inputs;
  std::int64_t classes = 0;
  LossSettings loss;
};

std::vector<Task> tasks() {
  const TensorSpec table{"table", TensorSpec::Kind::kFloat32, {13}};
  const TensorSpec image{"image", TensorSpec::Kind::kFloat32, {10, 12}};
  return {{"mlp",
           {{"dropout", 0.3}, {"hidden", {48, 24}}, {"normalization", "layer"}},
           {table, image},
           2,
           {LossKind::kBinary, 3, {}, 0}},
          {"convnet",
           {{"dropout", 0.3}, {"channels", {16, 24}}, {"hidden", 32}},
           {image},
           4,
           {LossKind::kCrossEntropy, 1, {1, 2, 0.5, 1}, 0.1}},
          {"mlp", {{"dropout", 0.5}, {"activation", "tanh"}}, {table}, 0, {LossKind::kMse, 1, {}, 0}}};
}

/// What a rank makes of its rows of one step: micro-batches of at most `micro_batch` rows, then the sums.
void one_step(Model& model, const Task& task, const Batch& batch, std::size_t micro_batch, Communicator& comm,
              GradientReducer& reducer) {
  reducer.begin_step();
  double weight = 0;
  for (std::size_t first = 0; first < batch.rows(); first += micro_batch) {
    const std::size_t count = std::min(micro_batch, batch.rows() - first);
    if (first + count == batch.rows()) reducer.ready();
    const ModelBatch rows(batch, first, count, true, kSeed);
    const at::Tensor sums = model.loss(model.forward(rows), rows, task.loss);
    sums[0].backward();
    weight += sums[1].item<double>();
  }
  reducer.start_rest();
  comm.all_reduce_sum("weights", std::span(&weight, 1));
  reducer.finish(weight);
}

/// Rank r of `world` has the positions [rB / world, (r + 1)B / world) of a step of B rows.
std::vector<std::uint32_t> share(std::uint32_t rows, int rank, int world) {
  const auto cut = [&](int r) {
    return rows * static_cast<std::uint32_t>(r) / static_cast<std::uint32_t>(world);
  };
  return testing::range(cut(rank), cut(rank + 1));
}

constexpr std::uint32_t kRowsOfSteps[] = {41, 17, 3, 1};  // the last ones leave ranks without rows

struct Seen {
  std::vector<std::vector<at::Tensor>> gradients;  ///< [step][parameter]
  BucketPlan plan;
  int steps_without_rows = 0;
};

std::vector<Seen> run(const Task& task, int world, std::size_t micro_batch) {
  const auto specs = specs_of(task.inputs, task.classes);
  const std::int64_t outputs = task.loss.kind == LossKind::kCrossEntropy ? task.classes : 1;
  const ModelContext context{options_of(task.model, task.options), specs, outputs};
  std::vector<Seen> seen(static_cast<std::size_t>(world));
  run_local(world, [&](Communicator& comm) {
    at::set_num_threads(1);
    Seen& mine = seen[static_cast<std::size_t>(comm.rank())];
    const auto model = make_model(task.model, context, kSeed);
    const auto bytes = gradient_bytes(model->module());
    const BucketLimits limits{2000, 5000};
    GradientReducer reducer(model->module(), comm, plan_buckets(bytes, reverse_order(bytes.size()), limits),
                            {limits});
    for (std::uint64_t step = 0; step < std::size(kRowsOfSteps); ++step) {
      const auto positions = share(kRowsOfSteps[step], comm.rank(), world);
      const Batch batch = batch_at(specs, task.classes, step, positions);
      one_step(*model, task, batch, micro_batch, comm, reducer);
      mine.steps_without_rows += positions.empty() ? 1 : 0;
      auto& gradients = mine.gradients.emplace_back();
      for (const at::Tensor& parameter : model->module().parameters())
        gradients.push_back(parameter.grad().clone());
      if (step == 1) reducer.replan_once();
    }
    mine.plan = reducer.plan();
  });
  return seen;
}

TEST(GradientRanksTest, AnyNumberOfRanksGivesTheGradientsOfOne) {
  int without_rows = 0;
  double worst = 0;
  for (const Task& task : tasks()) {
    const Seen alone = run(task, 1, 1000).front();
    for (const int world : {1, 2, 3, 5}) {
      const auto ranks = run(task, world, 6);
      for (const Seen& rank : ranks) {
        without_rows += rank.steps_without_rows;
        EXPECT_EQ(rank.plan, ranks[0].plan);
        EXPECT_TRUE(rank.plan.observed);
        for (std::size_t step = 0; step < alone.gradients.size(); ++step) {
          for (std::size_t p = 0; p < alone.gradients[step].size(); ++p) {
            const at::Tensor& expected = alone.gradients[step][p];
            EXPECT_TRUE(at::equal(rank.gradients[step][p], ranks[0].gradients[step][p]));
            ASSERT_GT(expected.norm().item<double>(), 0);
            const double off = ((rank.gradients[step][p] - expected).norm() / expected.norm()).item<double>();
            EXPECT_LE(off, 1e-5) << task.model << ", " << world << " ranks, step " << step << ", parameter "
                                 << p;
            worst = std::max(worst, off);
          }
        }
      }
    }
  }
  std::cout << "worst relative L2 distance " << worst << "; " << without_rows
            << " times a rank had no rows\n";
  EXPECT_GT(without_rows, 0);
}

}  // namespace
}  // namespace muster
