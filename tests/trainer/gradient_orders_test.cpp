// Many ranks whose gradients are ready in other orders on each rank and in each step.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <iostream>
#include <map>
#include <mutex>
#include <numeric>

#include "core/random.h"
#include "trainer/comm/local_communicator.h"
#include "trainer/gradients/gradient_reducer.h"

namespace muster {
namespace {

constexpr int kRanks = 8;
constexpr int kSteps = 1000;
constexpr int kStepsOfNet = 25;

class Random {
 public:
  explicit Random(std::initializer_list<std::uint64_t> coordinates)
      : stream_(random_key(5, Purpose::kGenerate, coordinates)) {}
  std::size_t below(std::size_t end) { return stream_.below(end); }
  bool one_in(std::size_t many) { return below(many) == 0; }
  void shuffle(std::vector<std::size_t>& all) {
    for (std::size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[below(i)]);
  }

 private:
  RandomStream stream_;
};

/// What one rank does with the parameters in one pass: in this order, the others not at all. Gradients are
/// whole numbers, so that their sums are the same in any order.
struct Pass {
  std::vector<std::size_t> order;
  std::vector<float> gradients;  ///< of each parameter's values
};

struct Step {
  std::vector<Pass> passes;  ///< micro-batches
  bool ready = true;         ///< sums may start in the last one
};

Step step_of(std::uint64_t net, std::uint64_t step, int rank, std::size_t parameters) {
  Random shared({net, step});
  Step made;
  made.passes.resize(1 + shared.below(3));
  made.ready = !shared.one_in(5);
  std::vector<bool> unused_everywhere;
  for (std::size_t i = 0; i < parameters; ++i) unused_everywhere.push_back(shared.one_in(12));
  Random random({net, step, static_cast<std::uint64_t>(rank) + 1});
  for (Pass& pass : made.passes) {
    pass.gradients.assign(parameters, 0);
    std::vector<std::size_t> all(parameters);
    std::iota(all.begin(), all.end(), 0);
    random.shuffle(all);
    for (const std::size_t i : all) {
      if (unused_everywhere[i] || random.one_in(10)) continue;
      pass.order.push_back(i);
      pass.gradients[i] = static_cast<float>(random.below(200)) - 100;
    }
  }
  return made;
}

class Net : public torch::nn::Module {
 public:
  explicit Net(std::uint64_t number) {
    Random random({number, 1'000'000});
    const std::size_t count = 2 + random.below(12);
    for (std::size_t i = 0; i < count; ++i) {
      const auto size = static_cast<std::int64_t>(1 + random.below(random.one_in(3) ? 900 : 20));
      weights.push_back(register_parameter(fmt::format("weight{}", i), at::ones({size})));
    }
  }
  /// Autograd goes back from what was used last.
  void learn(const Pass& pass) {
    if (pass.order.empty()) return;
    at::Tensor sum = at::zeros({});
    for (const std::size_t i : pass.order) sum = sum + (weights[i] * pass.gradients[i]).sum();
    sum.backward();
  }
  std::vector<at::Tensor> weights;
};

class Hits {
 public:
  void note(const std::string& edge) {
    const std::lock_guard lock(mutex_);
    ++times_[edge];
  }
  void expect_all(std::initializer_list<const char*> edges) {
    for (const char* edge : edges) {
      std::cout << edge << ": " << times_[edge] << " times\n";
      EXPECT_GT(times_[edge], 0) << edge;
    }
  }

 private:
  std::mutex mutex_;
  std::map<std::string, int> times_;
};

void note_edges(Hits& hits, const std::vector<Step>& ranks, std::size_t parameters) {
  hits.note("steps");
  if (ranks[0].passes.size() > 1) hits.note("several micro-batches");
  if (ranks[2].passes.back().order.empty()) hits.note("a rank that computes nothing");
  if (!ranks[0].ready) hits.note("sums start after the last pass");
  if (ranks[0].passes.back().order != ranks[1].passes.back().order) hits.note("ranks differ in their order");
  for (std::size_t i = 0; i < parameters; ++i) {
    const auto users = std::ranges::count_if(ranks, [&](const Step& step) {
      return std::ranges::any_of(step.passes,
                                 [&](const Pass& pass) { return std::ranges::count(pass.order, i) > 0; });
    });
    if (users == 0) hits.note("a parameter that no rank uses");
    if (users > 0 && users < kRanks) hits.note("a parameter that some ranks use");
  }
}

TEST(GradientOrdersTest, ManyRanksWithRandomOrdersOfReadiness) {
  Hits hits;
  for (std::uint64_t number = 0; number < kSteps / kStepsOfNet; ++number) {
    Random random({number, 2'000'000});
    const BucketLimits limits{200 + random.below(4000), 100 + random.below(8000)};
    run_local(kRanks, [&](Communicator& comm) {
      at::set_num_threads(1);
      Net net(number);
      const auto bytes = gradient_bytes(net);
      GradientReducer reducer(net, comm, plan_buckets(bytes, reverse_order(bytes.size()), limits), {limits});
      for (std::uint64_t step = 0; step < kStepsOfNet; ++step) {
        std::vector<Step> ranks;
        for (int rank = 0; rank < kRanks; ++rank)
          ranks.push_back(step_of(number, step, rank, net.weights.size()));
        const Step& mine = ranks[static_cast<std::size_t>(comm.rank())];
        reducer.begin_step();
        for (const Pass& pass : mine.passes) {
          if (&pass == &mine.passes.back() && mine.ready) reducer.ready();
          net.learn(pass);
        }
        reducer.start_rest();
        reducer.finish(1);
        for (std::size_t i = 0; i < net.weights.size(); ++i) {
          float expected = 0;
          for (const Step& rank : ranks) {
            for (const Pass& pass : rank.passes) expected += pass.gradients[i];
          }
          ASSERT_TRUE(net.weights[i].grad().eq(expected).all().item<bool>())
              << "net " << number << ", step " << step << ", parameter " << i << ", rank " << comm.rank();
        }
        if (comm.rank() == 0) {
          note_edges(hits, ranks, net.weights.size());
          if (reducer.plan().buckets.size() > 1) hits.note("several buckets");
        }
        if (step == 3) reducer.replan_once();
        if (comm.rank() == 0 && reducer.plan().observed) hits.note("in the order that was seen");
      }
    });
  }
  hits.expect_all({"steps", "several micro-batches", "sums start after the last pass",
                   "ranks differ in their order", "a rank that computes nothing",
                   "a parameter that no rank uses", "a parameter that some ranks use", "several buckets",
                   "in the order that was seen"});
}

}  // namespace
}  // namespace muster
