// Sums that move while the backward pass goes on: how long ranks still wait for them.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <iostream>
#include <thread>

#include "trainer/comm/local_communicator.h"
#include "trainer/gradients/gradient_reducer.h"

namespace muster {
namespace {

/// Passes x on; its backward pass takes a known time.
struct SlowBackward : torch::autograd::Function<SlowBackward> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            std::int64_t milliseconds) {
    context->saved_data["milliseconds"] = milliseconds;
    return x.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    std::this_thread::sleep_for(std::chrono::milliseconds(context->saved_data["milliseconds"].toInt()));
    return {gradients[0], at::Tensor()};
  }
};

/// Backward: four gradients 20 ms apart, then `rest` ms without any.
class SlowChain : public torch::nn::Module {
 public:
  SlowChain() {
    for (int i = 0; i < 5; ++i)
      factors.push_back(register_parameter(fmt::format("factor_{}", i), at::ones({64})));
  }
  at::Tensor loss(std::int64_t rest) {
    at::Tensor x = at::ones({64}).requires_grad_(true);
    x = SlowBackward::apply(x, rest);
    for (std::size_t i = 0; i < factors.size(); ++i) {
      x = x * factors[i];
      if (i + 1 < factors.size()) x = SlowBackward::apply(x, std::int64_t{20});
    }
    return x.sum();
  }
  std::vector<at::Tensor> factors;
};

/// The longest time a rank of two was blocked in finish.
double blocked_seconds(std::chrono::milliseconds delay, std::int64_t rest, bool overlap) {
  LocalOptions options;
  options.all_reduce_delay = delay;
  std::vector<double> seconds(2);
  run_local(
      2,
      [&](Communicator& comm) {
        at::set_num_threads(1);
        SlowChain net;
        GradientReducer reducer(net, comm, {{{4}, {3}, {2}, {1}, {0}}, false});
        reducer.begin_step();
        if (overlap) reducer.ready();
        net.loss(rest).backward();
        reducer.finish(1);
        seconds[static_cast<std::size_t>(comm.rank())] = reducer.wait_seconds();
      },
      options);
  return std::max(seconds[0], seconds[1]);
}

TEST(OverlapTest, DelayThatFitsBehindTheBackwardPassIsHidden) {
  using std::chrono::milliseconds;
  // All of the last bucket's 150 ms fit behind the 200 ms that follow its gradients.
  const double hidden = blocked_seconds(milliseconds(150), 200, true);
  EXPECT_LE(hidden, 0.2 * 0.150);
  // 300 of its 500 ms fit.
  const double partly = blocked_seconds(milliseconds(500), 300, true);
  EXPECT_LE(partly, 0.500 - 0.8 * 0.300);
  // And none when everything starts after the backward pass: the test would see it.
  const double without = blocked_seconds(milliseconds(150), 200, false);
  EXPECT_GE(without, 0.9 * 0.150);
  std::cout << "blocked " << hidden * 1e3 << " of 150 ms, " << partly * 1e3 << " of 500 ms (300 fit), "
            << without * 1e3 << " of 150 ms without overlap\n";
}

}  // namespace
}  // namespace muster
