// Batch norms over lanes and over the global batch, cut into ranks at random, against LibTorch's own in
// float64.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <iostream>
#include <limits>

#include "models/batch_norm.h"
#include "tests/data_loader/order_cases.h"
#include "tests/models/random_batch.h"
#include "trainer/comm/local_communicator.h"

namespace muster {
namespace {

constexpr double kMomentum = 0.1;
constexpr double kEpsilon = 1e-5;

/// One step's rows.
struct Case {
  std::vector<std::uint32_t> lanes;  ///< rows of each
  std::vector<std::uint8_t> bad;
  int world = 1;
  BatchNormOver over = BatchNormOver::kLane;
  at::Tensor x;             ///< float64 [rows, channels, places]
  at::Tensor coefficients;  ///< of the loss: float64, as x; 0 for bad rows
  at::Tensor weight, bias;  ///< float64

  std::int64_t channels() const { return x.size(1); }
};

Case random_case(RandomStream& random) {
  Case made;
  made.over = random.below(2) == 0 ? BatchNormOver::kLane : BatchNormOver::kGlobalBatch;
  const std::uint64_t lanes = 1 + random.below(6);
  made.world = static_cast<int>(1 + random.below(std::min<std::uint64_t>(lanes, 4)));
  std::int64_t rows = 0;
  for (std::uint64_t lane = 0; lane < lanes; ++lane) {
    made.lanes.push_back(static_cast<std::uint32_t>(random.below(5)));
    rows += made.lanes.back();
  }
  const bool has_bad = random.below(3) == 0;
  for (std::int64_t row = 0; row < rows; ++row) made.bad.push_back(has_bad && random.below(3) == 0 ? 1 : 0);
  const auto channels = static_cast<std::int64_t>(1 + random.below(3));
  const auto places = static_cast<std::int64_t>(1 + random.below(3));
  const auto normal = [&](const std::vector<std::int64_t>& sizes, double scale, double center) {
    at::Tensor values = at::empty(sizes, at::kDouble);
    for (std::int64_t i = 0; i < values.numel(); ++i)
      values.data_ptr<double>()[i] = static_cast<float>(center + scale * random.normal());
    return values;
  };
  made.x = normal({rows, channels, places}, 2, 5);
  made.coefficients = normal({rows, channels, places}, 1, 0);
  for (std::int64_t row = 0; row < rows; ++row) {
    if (made.bad[static_cast<std::size_t>(row)] != 0) made.x[row].zero_(), made.coefficients[row].zero_();
  }
  made.weight = normal({channels}, 0.5, 1);
  made.bias = normal({channels}, 1, 0);
  return made;
}

struct Outcome {
  at::Tensor y, dx, dweight, dbias, mean, variance;
  std::uint64_t without_own = 0;
  double least_deviation = std::numeric_limits<double>::infinity();  ///< of a group's channel
};

std::vector<std::int64_t> good_of(const Case& wanted, std::int64_t first, std::int64_t rows) {
  std::vector<std::int64_t> good;
  for (std::int64_t row = first; row < first + rows; ++row) {
    if (wanted.bad[static_cast<std::size_t>(row)] == 0) good.push_back(row);
  }
  return good;
}

/// By LibTorch's batch norm on the good rows of each group.
Outcome expected(const Case& wanted) {
  const auto leaf = [](const at::Tensor& values) { return values.clone().set_requires_grad(true); };
  const at::Tensor x = leaf(wanted.x), weight = leaf(wanted.weight), bias = leaf(wanted.bias);
  const at::Tensor zeros = at::zeros({wanted.channels()}, at::kDouble), ones = at::ones_like(zeros);
  std::vector<std::uint32_t> groups = wanted.lanes;
  if (wanted.over == BatchNormOver::kGlobalBatch) groups = {static_cast<std::uint32_t>(wanted.x.size(0))};
  Outcome outcome;
  outcome.y = at::zeros_like(wanted.x);
  at::Tensor loss = (weight.sum() + bias.sum()) * 0, means = zeros.clone(), variances = zeros.clone();
  double values = 0;
  std::int64_t first = 0;
  for (const std::uint32_t rows : groups) {
    const auto good = good_of(wanted, first, rows);
    first += rows;
    const at::Tensor index = at::tensor(good, at::kLong);
    const at::Tensor part = x.index_select(0, index);
    const auto count = static_cast<double>(part.size(0) * part.size(2));
    const bool own = count >= 2;
    if (!own && (rows > 0 || wanted.over == BatchNormOver::kGlobalBatch)) ++outcome.without_own;
    if (good.empty()) continue;
    const at::Tensor y =
        own ? at::batch_norm(part, weight, bias, {}, {}, true, kMomentum, kEpsilon, false)
            : at::batch_norm(part, weight, bias, zeros, ones, false, kMomentum, kEpsilon, false);
    loss = loss + (y * wanted.coefficients.index_select(0, index)).sum();
    outcome.y.index_copy_(0, index, y.detach());
    if (!own) continue;
    means += part.detach().mean(at::IntArrayRef{0, 2}) * count;
    variances += part.detach().var(at::IntArrayRef{0, 2}, true) * count;
    const at::Tensor deviations = (part.detach().var(at::IntArrayRef{0, 2}, false) + kEpsilon).sqrt();
    outcome.least_deviation = std::min(outcome.least_deviation, deviations.min().item<double>());
    values += count;
  }
  loss.backward();
  outcome.dx = x.grad().defined() ? x.grad() : at::zeros_like(x);
  outcome.dweight = weight.grad();
  outcome.dbias = bias.grad();
  outcome.mean = values > 0 ? means / values * kMomentum : zeros;
  outcome.variance = values > 0 ? ones * (1 - kMomentum) + variances / values * kMomentum : ones;
  return outcome;
}

/// What one rank makes of its lanes.
Outcome of_rank(const Case& wanted, Communicator& comm) {
  const auto range =
      lanes_of_rank(static_cast<std::uint32_t>(comm.rank()), static_cast<std::uint32_t>(comm.size()),
                    static_cast<std::uint32_t>(wanted.lanes.size()));
  const std::span<const std::uint32_t> lanes = std::span(wanted.lanes).subspan(range.first, range.count());
  std::int64_t first = 0;
  for (std::uint32_t lane = 0; lane < range.first; ++lane) first += wanted.lanes[lane];
  Batch batch({}, wanted.bad.size(), aligned_allocator());
  batch.set_lanes(lanes);
  const auto rows = static_cast<std::int64_t>(batch.rows());
  std::copy_n(wanted.bad.begin() + first, rows, batch.bad().begin());

  torch::nn::Module owner;
  const BatchNorm norm(owner, "norm", wanted.channels(), wanted.over);
  BatchNormSums sums(owner);
  EXPECT_EQ(sums.over_ranks(), wanted.over == BatchNormOver::kGlobalBatch);
  owner.named_parameters()["norm.weight"].set_data(wanted.weight.to(at::kFloat));
  owner.named_parameters()["norm.bias"].set_data(wanted.bias.to(at::kFloat));
  const at::Tensor x = wanted.x.narrow(0, first, rows).to(at::kFloat).set_requires_grad(true);
  const ModelBatch inputs(batch, 0, batch.rows(), true, 1,
                          [&](std::span<double> values) { comm.all_reduce_sum("batch norm", values); });
  Outcome outcome;
  const at::Tensor y = norm.forward(x, inputs);
  (y * wanted.coefficients.narrow(0, first, rows).to(at::kFloat)).sum().backward();
  std::vector<double> seen = sums.take();
  comm.all_reduce_sum("statistics", std::span(seen));
  outcome.without_own = sums.apply(seen);
  outcome.y = y.detach().to(at::kDouble);
  outcome.dx = x.grad().to(at::kDouble);
  auto parameters = owner.named_parameters();
  const auto grad = [&](const char* name) {
    const at::Tensor& made = parameters[name].grad();
    return made.defined() ? made.to(at::kDouble) : at::zeros({wanted.channels()}, at::kDouble);
  };
  outcome.dweight = grad("norm.weight");
  outcome.dbias = grad("norm.bias");
  outcome.mean = owner.named_buffers()["norm.running_mean"].to(at::kDouble);
  outcome.variance = owner.named_buffers()["norm.running_var"].to(at::kDouble);
  EXPECT_EQ(owner.named_buffers()["norm.num_batches_tracked"].item<std::int64_t>(),
            at::equal(outcome.mean, at::zeros_like(outcome.mean)) ? 0 : 1);
  return outcome;
}

void expect_near(const at::Tensor& ours, const at::Tensor& theirs, const char* what, double rounding = 0) {
  if (theirs.numel() == 0) return;
  const double most = std::max(1.0, theirs.abs().max().item<double>());
  EXPECT_LE((ours - theirs).abs().max().item<double>(), 1e-3 * most + rounding)
      << what << ", of up to " << most << ", roundings of up to " << rounding;
}

/// Ours is float32: where a group's values lie close together, their difference is all there is. A value
/// divided by the deviation is off by as much as its last bit is worth then, and dx, a small rest of terms as
/// great as weight * coefficient / deviation, is off by their share of that.
double rounding_of_dx(const Case& wanted, double deviation) {
  if (wanted.x.numel() == 0) return 0;
  const auto most = [](const at::Tensor& values) { return values.abs().max().item<double>(); };
  const double value = most(wanted.x) / deviation * std::numeric_limits<float>::epsilon();
  return value * most(wanted.weight) * most(wanted.coefficients) / deviation;
}

TEST(BatchNormRanksTest, EveryCutIntoRanksIsTheSameNorm) {
  RandomStream random(random_key(3, Purpose::kGenerate, {0}));
  testing::Edges edges;
  const int cases = testing::case_count() / 10;
  for (int i = 0; i < cases && !::testing::Test::HasFailure(); ++i) {
    const Case wanted = random_case(random);
    const Outcome theirs = expected(wanted);
    std::vector<Outcome> ours(static_cast<std::size_t>(wanted.world));
    run_local(wanted.world, [&](Communicator& comm) {
      at::set_num_threads(1);
      ours[static_cast<std::size_t>(comm.rank())] = of_rank(wanted, comm);
    });
    std::vector<at::Tensor> y, dx;
    at::Tensor dweight = at::zeros_like(theirs.dweight), dbias = at::zeros_like(dweight);
    bool empty_rank = false;
    for (const Outcome& rank : ours) {
      y.push_back(rank.y);
      dx.push_back(rank.dx);
      dweight += rank.dweight;
      dbias += rank.dbias;
      empty_rank = empty_rank || rank.y.size(0) == 0;
      EXPECT_TRUE(at::equal(rank.mean, ours.front().mean) && at::equal(rank.variance, ours.front().variance));
    }
    const at::Tensor good = at::tensor(good_of(wanted, 0, wanted.x.size(0)), at::kLong);
    expect_near(at::cat(y).index_select(0, good), theirs.y.index_select(0, good), "y");
    expect_near(at::cat(dx), theirs.dx, "dx", rounding_of_dx(wanted, theirs.least_deviation));
    expect_near(dweight, theirs.dweight, "dweight");
    expect_near(dbias, theirs.dbias, "dbias");
    expect_near(ours.front().mean, theirs.mean, "running mean");
    expect_near(ours.front().variance, theirs.variance, "running variance");
    const bool all = wanted.over == BatchNormOver::kGlobalBatch;
    EXPECT_EQ(ours.front().without_own,
              theirs.without_own * (all ? static_cast<std::uint64_t>(wanted.world) : 1));
    edges.hit("over the global batch", all);
    edges.hit("over lanes, of several a rank", !all && static_cast<int>(wanted.lanes.size()) > wanted.world);
    edges.hit("a rank without rows", empty_rank && all);
    edges.hit("bad rows", good.size(0) < wanted.x.size(0));
    edges.hit("fewer than 2 values", theirs.without_own > 0);
    edges.hit("no rows at all", wanted.x.size(0) == 0);
    edges.hit("one rank", wanted.world == 1);
    edges.hit("four ranks", wanted.world == 4);
  }
  edges.expect_all_hit();
}

/// What autocast gives has 8 bits: a mean of 8, or a weight near 1, has no room for its changes there.
TEST(BatchNormRanksTest, IsComputedInFloat32WhateverItIsGiven) {
  RandomStream random(random_key(4, Purpose::kGenerate, {0}));
  for (const BatchNormOver over : {BatchNormOver::kLane, BatchNormOver::kGlobalBatch}) {
    for (const bool bad : {false, true}) {
      at::Tensor x = at::empty({64, 3, 5});
      for (std::int64_t i = 0; i < x.numel(); ++i)
        x.data_ptr<float>()[i] = static_cast<float>(8.37 + 0.5 * random.normal());
      x = x.to(at::kBFloat16);
      Batch batch({}, 64, aligned_allocator());
      batch.set_rows(64);
      batch.bad()[63] = bad ? 1 : 0;
      auto owner = std::make_shared<torch::nn::Module>();
      const BatchNorm norm(*owner, "norm", 3, over);
      owner->named_parameters()["norm.weight"].set_data(at::full({3}, 1.003F));
      const at::Tensor y = norm.forward(x, ModelBatch(batch, 0, 64, true, 1));
      EXPECT_EQ(y.scalar_type(), at::kBFloat16);
      const std::int64_t good = bad ? 63 : 64;
      const at::Tensor exact = 1.003 * at::batch_norm(x.narrow(0, 0, good).to(at::kDouble), {}, {}, {}, {},
                                                      true, 0.1, 1e-5, false);
      const at::Tensor error =
          (y.narrow(0, 0, good).to(at::kDouble) - exact).abs() / exact.abs().clamp_min(0.1);
      EXPECT_LE(error.max().item<double>(), 0.0045) << "more than the rounding of the result";
    }
  }
}

}  // namespace
}  // namespace muster
