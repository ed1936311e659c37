#include "trainer/step_benchmark.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/random.h"
#include "models/model.h"
#include "trainer/evaluator.h"
#include "trainer/gradient_reducer.h"
#include "trainer/local_communicator.h"
#include "trainer/module_state.h"
#include "trainer/optimizer.h"

namespace muster {
namespace {

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

/// Seconds of each step of `comm`'s ranks.
std::vector<double> time_steps(Communicator& comm, const StepBenchmarkOptions& options, std::uint64_t rank) {
  const Batch batch = make_batch(options, rank);
  const auto model = make_benchmark_model(options, batch);
  OptimizerSettings settings;
  settings.name = "sgd";
  Optimizer optimizer(model->module(), settings);
  GradientReducer reducer(model->module(), comm, initial_bucket_plan(model->module()));
  LossSettings loss;
  loss.kind = LossKind::kCrossEntropy;
  std::vector<double> seconds;
  const std::uint64_t warm_up = options.steps / 10 + 2;
  for (std::uint64_t step = 0; step < warm_up + options.steps; ++step) {
    const auto began = std::chrono::steady_clock::now();
    reducer.begin_step();
    const ModelBatch inputs(batch, 0, batch.rows(), true, 1);
    const at::Tensor sums = model->loss(model->forward(inputs), inputs, loss);
    reducer.ready();
    sums[0].backward();
    reducer.start_rest();
    reducer.finish(static_cast<double>(options.rows_per_rank) * comm.size());
    optimizer.step(1e-3);
    reducer.replan_once();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    if (step >= warm_up) seconds.push_back(took.count());
  }
  return seconds;
}

double slowest_median_ms(Communicator& comm, std::vector<double> seconds) {
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2),
                   seconds.end());
  const double mine = seconds[seconds.size() / 2] * 1000;
  double slowest = 0;
  for (const auto& bytes : comm.all_gather("bench", std::as_bytes(std::span(&mine, 1)))) {
    double theirs = 0;
    std::memcpy(&theirs, bytes.data(), sizeof theirs);
    slowest = std::max(slowest, theirs);
  }
  return slowest;
}

}  // namespace

Json benchmark_step(Communicator& comm, const StepBenchmarkOptions& options) {
  set_compute_threads(options.threads);
  const auto rank = static_cast<std::uint64_t>(comm.rank());
  const double together_ms = slowest_median_ms(comm, time_steps(comm, options, rank));
  const auto alone = make_local_communicators(1);
  const double alone_ms = slowest_median_ms(comm, time_steps(*alone.front(), options, rank));
  const Batch batch = make_batch(options, rank);
  return {{"ranks", comm.size()},
          {"parameters", parameter_count(make_benchmark_model(options, batch)->module())},
          {"rows_per_rank", options.rows_per_rank},
          {"threads", options.threads},
          {"step_ms", together_ms},
          {"alone_ms", alone_ms}};
}

}  // namespace muster
