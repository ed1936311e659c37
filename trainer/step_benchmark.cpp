#include "trainer/step_benchmark.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/random.h"
#include "models/model.h"
#include "trainer/benchmark_times.h"
#include "trainer/evaluator.h"
#include "trainer/gradient_reducer.h"
#include "trainer/local_communicator.h"
#include "trainer/module_state.h"
#include "trainer/optimizer.h"

namespace muster {
namespace {

constexpr std::uint64_t kRounds = 10;

Batch make_batch(const StepBenchmarkOptions& options, std::uint64_t rank) {
  Batch batch(
      {{"features", TensorSpec::Kind::kFloat32, {options.inputs}}, {"label", TensorSpec::Kind::kInt64, {}}},
      options.rows_per_rank, aligned_allocator());
  batch.set_rows(options.rows_per_rank);
  RandomStream random(random_key(1, Purpose::kGenerate, {rank}));
  const auto values = options.rows_per_rank * static_cast<std::uint64_t>(options.inputs);
  for (std::uint64_t i = 0; i < values; ++i) batch.floats(0)[i] = static_cast<float>(random.normal());
  for (std::uint64_t row = 0; row < options.rows_per_rank; ++row) {
    batch.integers(1)[row] =
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(options.outputs)));
    batch.weights()[row] = 1;
  }
  return batch;
}

std::unique_ptr<Model> make_benchmark_model(const StepBenchmarkOptions& options, const Batch& batch) {
  ModelContext context;
  const ModelFactory& factory = models().get("mlp");
  context.options = read_options(factory.options, nullptr);
  context.options["hidden"] = options.hidden;
  context.tensors = batch.specs();
  context.outputs = options.outputs;
  return make_model("mlp", context, 1);
}

/// One model in training on made-up rows.
class StepLoop {
 public:
  StepLoop(Communicator& comm, const StepBenchmarkOptions& options, std::uint64_t rank)
      : batch_(make_batch(options, rank)),
        model_(make_benchmark_model(options, batch_)),
        optimizer_(model_->module(), sgd()),
        reducer_(model_->module(), comm, initial_bucket_plan(model_->module())),
        global_rows_(static_cast<double>(options.rows_per_rank) * comm.size()) {
    loss_.kind = LossKind::kCrossEntropy;
  }

  /// Trains so many steps; the milliseconds of each.
  std::vector<double> run(std::uint64_t steps) {
    std::vector<double> milliseconds;
    for (std::uint64_t step = 0; step < steps; ++step) {
      const auto began = std::chrono::steady_clock::now();
      reducer_.begin_step();
      const ModelBatch inputs(batch_, 0, batch_.rows(), true, 1);
      const at::Tensor sums = model_->loss(model_->forward(inputs), inputs, loss_);
      reducer_.ready();
      sums[0].backward();
      reducer_.start_rest();
      reducer_.finish(global_rows_);
      optimizer_.step(1e-3);
      reducer_.replan_once();
      const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
      milliseconds.push_back(took.count());
    }
    return milliseconds;
  }

  std::int64_t parameters() const { return parameter_count(model_->module()); }

 private:
  static OptimizerSettings sgd() {
    OptimizerSettings settings;
    settings.name = "sgd";
    return settings;
  }

  Batch batch_;
  std::unique_ptr<Model> model_;
  Optimizer optimizer_;
  GradientReducer reducer_;
  LossSettings loss_;
  double global_rows_;
};

}  // namespace

Json benchmark_step(Communicator& comm, const StepBenchmarkOptions& options) {
  set_compute_threads(options.threads);
  const auto rank = static_cast<std::uint64_t>(comm.rank());
  const auto one_rank = make_local_communicators(1);
  StepLoop together(comm, options, rank);
  StepLoop alone(*one_rank.front(), options, rank);
  // Both are warmed up: the first steps remake the bucket plan and fault memory in.
  together.run(options.steps / 10 + 2);
  alone.run(options.steps / 10 + 2);
  // In turns: a machine that slows down for a while does so to both.
  std::vector<double> together_ms, alone_ms;
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    const std::uint64_t steps = (round + 1) * options.steps / kRounds - round * options.steps / kRounds;
    for (const double ms : together.run(steps)) together_ms.push_back(ms);
    for (const double ms : alone.run(steps)) alone_ms.push_back(ms);
    comm.barrier("bench");
  }
  const double together_median = slowest(comm, median(together_ms));
  const double alone_median = slowest(comm, median(alone_ms));
  return {{"ranks", comm.size()},
          {"parameters", together.parameters()},
          {"rows_per_rank", options.rows_per_rank},
          {"threads", options.threads},
          {"step_ms", together_median},
          {"alone_ms", alone_median},
          {"ratio_to_alone", together_median / alone_median}};
}

}  // namespace muster
