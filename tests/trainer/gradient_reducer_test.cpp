#include "trainer/gradients/gradient_reducer.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "core/error.h"
#include "tests/trainer/recording_communicator.h"
#include "trainer/comm/local_communicator.h"

namespace muster {
namespace {

using testing::RecordingCommunicator;
using Buckets = std::vector<std::vector<std::uint32_t>>;

/// Scalars a, b, c, d; `tied` is a under a second name; `unused` never has a gradient.
class Scalars : public torch::nn::Module {
 public:
  Scalars() {
    a = register_parameter("a", at::full({1}, 2.0F));
    b = register_parameter("b", at::full({3}, 3.0F));
    c = register_parameter("c", at::full({2, 9}, 5.0F).t());
    d = register_parameter("d", at::full({1}, 7.0F));
    register_parameter("tied", a);
    unused = register_parameter("unused", at::ones({4}));
    register_parameter("frozen", at::ones({4}), false);
  }
  /// Uses a four times; in the backward pass the gradients come in as d, c, b, a.
  at::Tensor loss() {
    at::Tensor x = a * a;
    x = (x * b).sum() + a.sum();
    x = (x * c).sum();
    return (x * d).sum() + a.sum();
  }
  at::Tensor a, b, c, d, unused;
};

BucketPlan plan_of(Buckets buckets) { return {std::move(buckets), false}; }

/// The plan with one bucket per parameter, in the order of registration: a, b, c, d, unused.
const Buckets kForward{{0}, {1}, {2}, {3}, {4}};
const Buckets kBackward{{3}, {2}, {1}, {0}, {4}};

/// Gradients of `backward passes` by plain autograd.
std::vector<at::Tensor> plain_gradients(int passes) {
  Scalars net;
  for (int i = 0; i < passes; ++i) net.loss().backward();
  return {net.a.grad(), net.b.grad(), net.c.grad(), net.d.grad()};
}

void expect_gradients(Scalars& net, const std::vector<at::Tensor>& expected, double share) {
  const at::Tensor actual[] = {net.a.grad(), net.b.grad(), net.c.grad(), net.d.grad()};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(at::allclose(actual[i], expected[i] * share, 1e-6, 0)) << i << actual[i] << expected[i];
  }
  EXPECT_TRUE(at::equal(net.unused.grad(), at::zeros({4})));
}

void backward(Scalars& net, RecordingCommunicator& comm) {
  comm.in_backward = true;
  net.loss().backward();
  comm.in_backward = false;
}

/// The backward passes of a step with so many micro-batches.
template <typename Net>
void backward_in(Net& net, GradientReducer& reducer, int micro_batches) {
  reducer.begin_step();
  for (int i = 0; i < micro_batches; ++i) {
    if (i + 1 == micro_batches) reducer.ready();
    net.loss().backward();
  }
}

std::vector<bool> started_in_backward(const RecordingCommunicator& comm) {
  std::vector<bool> found;
  for (const auto& started : comm.started) found.push_back(started.in_backward);
  return found;
}

TEST(GradientReducerTest, NumbersTrainableParametersOnce) {
  Scalars net;
  EXPECT_EQ(gradient_bytes(net), (std::vector<std::uint64_t>{4, 12, 72, 4, 16}));
}

TEST(GradientReducerTest, GradientsAreAlignedAndOfTheirParametersLayout) {
  Scalars net;
  RecordingCommunicator comm;
  const GradientReducer reducer(net, comm, plan_of({{3, 2, 1}, {0, 4}}));
  for (const at::Tensor& parameter : {net.a, net.b, net.c, net.d, net.unused}) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(parameter.grad().data_ptr()) % 64, 0U);
    EXPECT_EQ(parameter.grad().strides(), parameter.strides());
  }
}

TEST(GradientReducerTest, BucketsStartDuringTheBackwardPassWithFinalValues) {
  Scalars net;
  RecordingCommunicator comm;
  GradientReducer reducer(net, comm, plan_of(kBackward));
  reducer.begin_step();
  reducer.ready();
  backward(net, comm);
  ASSERT_EQ(started_in_backward(comm), (std::vector<bool>{true, true, true, true}));
  // A parameter that is used several times is in only when all its uses are: the value at the start is the
  // whole one.
  const auto expected = plain_gradients(1);
  EXPECT_EQ(comm.started[0].values[0], expected[3].item<float>());
  EXPECT_EQ(comm.started[3].values[0], expected[0].item<float>());
  reducer.finish(4);
  EXPECT_EQ(started_in_backward(comm), (std::vector<bool>{true, true, true, true, false}));
  expect_gradients(net, expected, 0.25);
}

TEST(GradientReducerTest, BucketsStartInPlanOrderOnly) {
  Scalars net;
  RecordingCommunicator comm;
  GradientReducer reducer(net, comm, plan_of(kForward));
  reducer.begin_step();
  reducer.ready();
  backward(net, comm);
  reducer.finish(1);
  ASSERT_EQ(comm.started.size(), 5U);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(comm.started[i].name, fmt::format("gradient bucket {} of 5", i + 1));
    EXPECT_EQ(comm.started[i].in_backward, i < 4);  // all four wait for a, the last gradient
  }
  expect_gradients(net, plain_gradients(1), 1);
}

TEST(GradientReducerTest, OnlyTheArmedBackwardPassStartsBuckets) {
  Scalars net;
  RecordingCommunicator comm;
  GradientReducer reducer(net, comm, plan_of(kBackward));
  for (int step = 0; step < 2; ++step) {
    reducer.begin_step();
    comm.started.clear();
    backward(net, comm);
    backward(net, comm);
    EXPECT_TRUE(comm.started.empty());
    reducer.ready();
    backward(net, comm);
    EXPECT_EQ(comm.started.size(), 4U);
    reducer.finish(3);
    expect_gradients(net, plain_gradients(3), 1.0 / 3);
  }
}

TEST(GradientReducerTest, StartRestMakesRoomForOtherCollectives) {
  Scalars net;
  RecordingCommunicator comm;
  GradientReducer reducer(net, comm, initial_bucket_plan(net));
  reducer.begin_step();
  reducer.start_rest();
  EXPECT_EQ(comm.started.size(), reducer.plan().buckets.size());
  reducer.finish(1);
  EXPECT_EQ(comm.started.size(), reducer.plan().buckets.size());
}

TEST(GradientReducerTest, NoWeightLeavesZeros) {
  Scalars net;
  RecordingCommunicator comm;
  GradientReducer reducer(net, comm, plan_of(kBackward));
  reducer.begin_step();
  reducer.finish(0);
  expect_gradients(net, plain_gradients(1), 0);
  EXPECT_EQ(comm.started.size(), 5U);
}

TEST(GradientReducerTest, AttachesGradientsThatAModelDropped) {
  Scalars net;
  RecordingCommunicator comm;
  GradientReducer reducer(net, comm, plan_of(kBackward));
  net.zero_grad(/*set_to_none=*/true);
  reducer.begin_step();
  reducer.ready();
  backward(net, comm);
  reducer.finish(1);
  expect_gradients(net, plain_gradients(1), 1);
}

TEST(GradientReducerTest, OneRankKeepsWhatAutogradMade) {
  const auto comms = make_local_communicators(1);
  Scalars net;
  GradientReducer reducer(net, *comms.front(), plan_of(kForward), {{1, 1}});
  for (const int micro_batches : {1, 3}) {
    backward_in(net, reducer, micro_batches);
    reducer.start_rest();
    reducer.finish(2);
    expect_gradients(net, plain_gradients(micro_batches), 0.5);
    reducer.replan_once();
    EXPECT_EQ(reducer.plan(), (BucketPlan{kBackward, true}));  // as on several ranks: it may be resumed there
  }
  reducer.begin_step();
  reducer.finish(1);
  expect_gradients(net, plain_gradients(1), 0);
  reducer.begin_step();
  net.loss().backward();
  net.zero_grad(/*set_to_none=*/true);
  EXPECT_THROW(net.loss().backward(), Error);
}

/// Autograd gives both parameters views of one tensor.
class Twins : public torch::nn::Module {
 public:
  Twins() {
    a = register_parameter("a", at::ones({2, 3}));
    b = register_parameter("b", at::ones({3, 2}));
  }
  at::Tensor loss() { return ((a.view(-1) + b.view(-1)) * at::arange(6, at::kFloat)).sum(); }
  at::Tensor a, b;
};

TEST(GradientReducerTest, OneRanksGradientsShareNoMemory) {
  const auto comms = make_local_communicators(1);
  Twins net;
  GradientReducer reducer(net, *comms.front(), initial_bucket_plan(net));
  for (const int micro_batches : {1, 2}) {
    backward_in(net, reducer, micro_batches);
    reducer.finish(2);
    const at::Tensor expected = at::arange(6, at::kFloat) * (static_cast<float>(micro_batches) / 2);
    EXPECT_TRUE(at::equal(net.a.grad().view(-1), expected)) << net.a.grad();
    EXPECT_TRUE(at::equal(net.b.grad().view(-1), expected)) << net.b.grad();
  }
}

/// A table of embeddings whose gradients are sparse, beside a dense parameter.
class SparseTable : public torch::nn::Module {
 public:
  SparseTable() {
    table = register_module("table", torch::nn::Embedding(torch::nn::EmbeddingOptions(5, 3).sparse(true)));
    scale = register_parameter("scale", at::full({3}, 2.0F));
  }
  at::Tensor loss() { return (table(at::tensor({1, 3, 1})) * scale).sum(); }
  torch::nn::Embedding table{nullptr};
  at::Tensor scale;
};

TEST(GradientReducerTest, SparseGradientsBecomeDense) {
  SparseTable net;
  RecordingCommunicator comm;
  GradientReducer reducer(net, comm, initial_bucket_plan(net));
  for (const int micro_batches : {1, 2}) {
    backward_in(net, reducer, micro_batches);
    reducer.finish(1);
    const auto times = static_cast<float>(micro_batches);
    EXPECT_TRUE(at::equal(net.table->weight.grad().sum(1) / times, at::tensor({0.F, 12.F, 0.F, 6.F, 0.F})));
    EXPECT_TRUE(net.scale.grad().allclose(times * (2 * net.table->weight[1] + net.table->weight[3]).detach(),
                                          1e-5, 1e-6));
  }
}

TEST(GradientReducerTest, RefusesWhatWouldGiveWrongSums) {
  Scalars net;
  RecordingCommunicator comm;
  GradientReducer reducer(net, comm, plan_of(kBackward));
  reducer.begin_step();
  net.loss().backward();
  net.zero_grad(/*set_to_none=*/true);
  reducer.ready();
  EXPECT_THROW(net.loss().backward(), Error);  // the first micro-batch's gradients are lost
  reducer.begin_step();
  reducer.ready();
  net.loss().backward();
  EXPECT_THROW(net.loss().backward(), Error);  // after the buckets had started
  EXPECT_THROW(GradientReducer(net, comm, plan_of({{0, 1}})), Error);
}

TEST(GradientReducerTest, RefusesParametersItCannotReduce) {
  const auto code_of = [](torch::nn::Module& module) {
    try {
      gradient_bytes(module);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kBug;
  };
  torch::nn::Module none;
  EXPECT_EQ(code_of(none), ErrorCode::kConfig);
  torch::nn::Module wide;
  wide.register_parameter("w", at::ones({2}, at::kDouble));
  EXPECT_EQ(code_of(wide), ErrorCode::kConfig);
}

TEST(GradientReducerTest, LeavesTheModuleUsable) {
  Scalars net;
  RecordingCommunicator comm;
  {
    GradientReducer reducer(net, comm, plan_of(kBackward));
    reducer.begin_step();
    reducer.ready();
  }
  for (const at::Tensor& parameter : {net.a, net.b, net.c, net.d, net.unused}) {
    ASSERT_TRUE(torch::autograd::impl::post_acc_grad_hooks(parameter) == nullptr);
  }
  EXPECT_FALSE(net.a.grad().defined());  // its memory is gone
  net.loss().backward();
  EXPECT_TRUE(comm.started.empty());
  EXPECT_TRUE(at::allclose(net.a.grad(), plain_gradients(1)[0]));
}

TEST(ReplanTest, TakesTheOrderOfTheBackwardPassOnce) {
  Scalars net;
  RecordingCommunicator comm;
  GradientReducer reducer(net, comm, plan_of(kForward), {{1, 1}});
  reducer.replan_once();
  EXPECT_EQ(reducer.plan(), plan_of(kForward));  // nothing was seen yet
  for (int step = 0; step < 3; ++step) {
    reducer.begin_step();
    reducer.ready();
    backward(net, comm);
    reducer.finish(1);
    expect_gradients(net, plain_gradients(1), 1);
    reducer.replan_once();
    EXPECT_EQ(reducer.plan(), (BucketPlan{kBackward, true}));
  }
}

/// Two branches whose gradients come in another order on odd ranks.
class Branches : public torch::nn::Module {
 public:
  Branches() {
    a = register_parameter("a", at::ones({1}));
    b = register_parameter("b", at::ones({1}));
  }
  at::Tensor loss(bool odd) { return odd ? (a * b.exp()).sum() : (a.exp() * b).sum(); }
  at::Tensor a, b;
};

TEST(ReplanTest, AllRanksTakeTheOrderOfTheLowestThatSawOne) {
  for (const int first_with_rows : {0, 1, 2}) {
    std::vector<BucketPlan> plans(3);
    run_local(3, [&](Communicator& comm) {
      Branches net;
      const auto rank = static_cast<std::size_t>(comm.rank());
      GradientReducer reducer(net, comm, {{{1, 0}}, false}, {{1, 1}});
      for (int step = 0; step < 2; ++step) {
        reducer.begin_step();
        if (comm.rank() >= first_with_rows) {
          reducer.ready();
          net.loss(comm.rank() % 2 == 1).backward();
        }
        reducer.finish(1);
        reducer.replan_once();
      }
      plans[rank] = reducer.plan();
    });
    for (const BucketPlan& plan : plans) {
      EXPECT_TRUE(plan.observed);
      EXPECT_EQ(plan, plans[static_cast<std::size_t>(first_with_rows)]);
    }
    // exp's operand comes in later: the other one is a direct leaf of the last product.
    EXPECT_EQ(plans[0].buckets, first_with_rows == 1 ? (Buckets{{0}, {1}}) : (Buckets{{1}, {0}}));
  }
}

}  // namespace
}  // namespace muster
