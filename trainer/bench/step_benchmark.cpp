#include "trainer/bench/step_benchmark.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>

#include "core/random.h"
#include "core/text.h"
#include "core/yaml.h"
#include "models/batch_norm.h"
#include "models/host_copy.h"
#include "models/model.h"
#include "trainer/checkpoint/module_state.h"
#include "trainer/comm/agreement.h"
#include "trainer/comm/benchmark_times.h"
#include "trainer/comm/device_choice.h"
#include "trainer/comm/local_communicator.h"
#include "trainer/evaluation/evaluator.h"
#include "trainer/gradients/gradient_reducer.h"
#include "trainer/gradients/loss_gradient.h"
#include "trainer/gradients/optimizer.h"
#include "trainer/gradients/precision.h"
#include "trainer/runlog/efficiency.h"
#include "trainer/runlog/flop_counter.h"
#include "trainer/runlog/kernel_profile.h"

namespace muster {
namespace {

constexpr std::uint64_t kRounds = 10;

Batch make_batch(const StepBenchmarkOptions& options, std::uint64_t rank, const BufferAllocator& allocator) {
  const bool ids = options.vocabulary > 0;
  TensorSpec input{"input", ids ? TensorSpec::Kind::kInt64 : TensorSpec::Kind::kFloat32, options.shape, {}};
  if (ids) input.ids = {options.vocabulary};
  Batch batch({input, {std::string(kLabelTensor), TensorSpec::Kind::kInt64, {}, {}}}, options.rows_per_rank,
              allocator);
  batch.set_rows(options.rows_per_rank);
  RandomStream random(random_key(1, Purpose::kGenerate, {rank}));
  const auto below = [&](std::int64_t end) {
    return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(end)));
  };
  const std::size_t values = options.rows_per_rank * input.values_per_row();
  for (std::size_t i = 0; i < values; ++i) {
    if (ids) {
      batch.integers(0)[i] = below(options.vocabulary);
    } else {
      batch.floats(0)[i] = static_cast<float>(random.normal());
    }
  }
  for (std::uint64_t row = 0; row < options.rows_per_rank; ++row) {
    batch.integers(1)[row] = below(options.outputs);
    batch.weights()[row] = 1;
  }
  return batch;
}

std::unique_ptr<Model> make_benchmark_model(const StepBenchmarkOptions& options, const Batch& batch,
                                            const ComputeDevice& device) {
  const ModelFactory& factory = models().get(options.model);
  const YamlNode given = YamlNode::parse(options.options.empty() ? "{}" : options.options, "--options");
  ModelContext context;
  context.options = read_options(factory.options, &given);
  context.tensors = batch.specs();
  context.outputs = options.outputs;
  auto model = with_precision(make_model(options.model, context, 1), options.precision, device);
  move_to(model->module(), device);
  return model;
}

OptimizerSettings sgd() {
  OptimizerSettings settings;
  settings.name = "sgd";
  return settings;
}

/// Where and what a rank computes.
struct BenchmarkRank {
  std::uint64_t number = 0;
  ComputeDevice device;
  BufferAllocator allocator = aligned_allocator();
};

/// One model on made-up rows.
class StepLoop {
 public:
  /// `sum`: for norms over all ranks' rows.
  StepLoop(const StepBenchmarkOptions& options, const BenchmarkRank& rank, SumOverRanks sum = {})
      : batch_(make_batch(options, rank.number, rank.allocator)),
        device_(rank.device),
        model_(make_benchmark_model(options, batch_, device_)),
        sum_(std::move(sum)) {
    loss_.kind = model_->predicts_tokens() ? LossKind::kNextToken : LossKind::kCrossEntropy;
  }
  virtual ~StepLoop() = default;

  /// Trains so many steps; the milliseconds of each.
  std::vector<double> run(std::uint64_t steps) {
    std::vector<double> milliseconds;
    for (std::uint64_t i = 0; i < steps; ++i) {
      const auto began = std::chrono::steady_clock::now();
      step();
      if (device_.gpu) static_cast<void>(a_weight().values<float>());  // the update is done, too
      const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
      milliseconds.push_back(took.count());
    }
    return milliseconds;
  }

  torch::nn::Module& module() { return model_->module(); }
  /// Of a step: forward and backward.
  double flops() {
    const FlopCounter counter;
    static_cast<void>(sums());
    return kTrainingFlopsPerForward * counter.count();
  }

 protected:
  virtual void step() = 0;
  /// As Model::loss.
  at::Tensor sums(const BatchTensors& tensors, const GradientPlaces& places = {}) {
    const ModelBatch inputs(tensors, 0, batch_.rows(), true, 1, sum_, places);
    return model_->loss(model_->forward(inputs), inputs, loss_);
  }
  at::Tensor sums() { return sums(BatchTensors(batch_, device_)); }
  const Batch& batch() const { return batch_; }
  const ComputeDevice& device() const { return device_; }

 private:
  HostCopy a_weight() { return HostCopy(module().parameters().front().detach().flatten().narrow(0, 0, 1)); }

  Batch batch_;
  ComputeDevice device_;
  std::unique_ptr<Model> model_;
  SumOverRanks sum_;
  LossSettings loss_;
};

/// As a training does it.
class MusterLoop : public StepLoop {
 public:
  MusterLoop(Communicator& comm, const StepBenchmarkOptions& options, const BenchmarkRank& rank)
      : StepLoop(options, rank,
                 [&comm](std::span<double> values) { comm.all_reduce_sum("batch norm", values); }),
        comm_(comm),
        optimizer_(module(), sgd()),
        reducer_(module(), comm, initial_bucket_plan(module(), bucket_limits(options.bucket_bytes)),
                 {bucket_limits(options.bucket_bytes), sum_precision(options.sum_precision)}),
        norms_(module()),
        ranks_(comm.size()) {
    if (rank.device.gpu) copies_.emplace(rank.device);
  }

  std::vector<std::uint64_t> bucket_sizes() {
    const std::vector<std::uint64_t> bytes = gradient_bytes(module());
    std::vector<std::uint64_t> sizes;
    for (const auto& bucket : reducer_.plan().buckets) {
      sizes.push_back(0);
      for (const std::uint32_t number : bucket) sizes.back() += bytes[number];
    }
    return sizes;
  }

 protected:
  void step() override {
    reducer_.begin_step();
    if (!ahead_) ahead_.emplace(batch(), device());
    CopyStream::join(*ahead_);
    const at::Tensor loss =
        sums(*ahead_, [this](const at::Tensor& parameter) { return reducer_.place(parameter); });
    reducer_.ready();
    const HostCopy on_host(loss);
    norms_.fetch();
    gradient_.backward(loss, 1 / weight_);
    ahead_.reset();
    if (copies_) ahead_ = copies_->copy(batch());
    weight_ = on_host.values<double>()[1] * ranks_;
    reducer_.start_rest();
    reducer_.finish(1);
    if (!norms_.empty()) {
      std::vector<double> statistics = norms_.take();
      comm_.all_reduce_sum("batch norm statistics", std::span(statistics));
      norms_.apply(statistics);
    }
    optimizer_.clip(0);
    optimizer_.step(1e-3);
    reducer_.replan_once();
  }

 private:
  Communicator& comm_;
  Optimizer optimizer_;
  GradientReducer reducer_;
  BatchNormSums norms_;
  LossGradient gradient_;
  std::optional<CopyStream> copies_;
  std::optional<BatchTensors> ahead_;
  double ranks_;
  double weight_ = 1;  ///< of the step before
};

/// As LibTorch's users write it.
class BareLoop : public StepLoop {
 public:
  BareLoop(const StepBenchmarkOptions& options, const BenchmarkRank& rank)
      : StepLoop(options, rank), optimizer_(module().parameters(), torch::optim::SGDOptions(1e-3)) {}

 protected:
  void step() override {
    optimizer_.zero_grad();
    const at::Tensor loss = sums();
    (loss[0] / loss[1]).backward();
    optimizer_.step();
    static_cast<void>(loss.detach().to(at::kCPU));
  }

 private:
  torch::optim::SGD optimizer_;
};

/// The plain loop as one CUDA graph: what the host's calls cost. Its rows are those of the recording.
class GraphLoop : public StepLoop {
 public:
  GraphLoop(const StepBenchmarkOptions& options, const BenchmarkRank& rank, Gpus& gpus)
      : StepLoop(options, rank),
        optimizer_(module().parameters(), torch::optim::SGDOptions(1e-3)),
        rows_(batch(), device()) {
    compute();  // what is made once is made before
    compute();
    graph_ = gpus.record([this] { compute(); });
  }

 protected:
  void step() override {
    graph_->replay();
    static_cast<void>(loss_.to(at::kCPU));
  }

 private:
  void compute() {
    optimizer_.zero_grad();
    const at::Tensor loss = sums(rows_);
    (loss[0] / loss[1]).backward();
    optimizer_.step();
    loss_ = loss.detach();
  }

  torch::optim::SGD optimizer_;
  BatchTensors rows_;
  at::Tensor loss_;
  std::unique_ptr<GpuGraph> graph_;
};

/// graph_ms and graph_error.
Json measure_graph(const StepBenchmarkOptions& options, const BenchmarkRank& rank, Gpus* gpus) {
  if (gpus == nullptr) return {{"graph_ms", nullptr}, {"graph_error", nullptr}};
  try {
    GraphLoop loop(options, rank, *gpus);
    loop.run(options.steps / 10 + 2);
    return {{"graph_ms", median(loop.run(options.steps))}, {"graph_error", nullptr}};
  } catch (const c10::Error& error) {
    return {{"graph_ms", nullptr}, {"graph_error", first_line(error.what_without_backtrace())}};
  }
}

/// The milliseconds of a loop's steps so far.
struct TimedLoop {
  StepLoop& loop;
  std::vector<double> milliseconds;
};

/// Of each step of `loop`. The other ranks go along.
Json profile_steps(StepLoop& loop, const StepBenchmarkOptions& options, bool gpu, int rank) {
  constexpr std::uint64_t kSteps = 3;
  constexpr std::size_t kRows = 20;
  if (options.profile.empty()) return nullptr;
  if (rank != 0) {
    loop.run(kSteps);
    return nullptr;
  }
  KernelProfile profile(gpu ? KernelProfile::Of::kOperatorsAndKernels : KernelProfile::Of::kOperators);
  loop.run(kSteps);
  Json rows = profile.finish(options.profile);
  if (rows.size() > kRows) rows.erase(rows.begin() + kRows, rows.end());
  for (Json& row : rows) row["ms"] = row.at("ms").get<double>() / kSteps;
  return rows;
}

}  // namespace

Json benchmark_step(Communicator& comm, const StepBenchmarkOptions& options, const GpuModule& gpus) {
  set_compute_threads(options.threads);
  BenchmarkRank rank{static_cast<std::uint64_t>(comm.rank())};
  const ComputeDevice device = choose_device(comm, options.device, &gpus, /*share=*/true, [](const auto&) {});
  if (device.gpu) {
    gpus.gpus->select(device.index);
    comm.sum_on_gpus(*gpus.gpus, device.index);
    rank.device = device;
    rank.allocator = gpus.gpus->pinned_allocator();
  }
  together(comm, "bench", [&] {
    BareLoop(options, rank).run(1);  // what cannot be made, or does not run, ends here on all ranks
    return 0;
  });
  const auto one_rank = make_local_communicators(1);
  MusterLoop parallel(comm, options, rank);
  MusterLoop alone(*one_rank.front(), options, rank);
  BareLoop bare(options, rank);
  std::vector<TimedLoop> loops{{parallel, {}}, {alone, {}}, {bare, {}}};
  // The first steps remake the bucket plan and fault memory in.
  for (TimedLoop& timed : loops) timed.loop.run(options.steps / 10 + 2);
  // In turns: a machine that slows down for a while does so to all.
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    const std::uint64_t steps = (round + 1) * options.steps / kRounds - round * options.steps / kRounds;
    for (TimedLoop& timed : loops) {
      comm.barrier("bench");
      for (const double ms : timed.loop.run(steps)) timed.milliseconds.push_back(ms);
    }
  }
  std::vector<double> medians;
  for (const TimedLoop& timed : loops) medians.push_back(slowest(comm, median(timed.milliseconds)));
  Json profile = profile_steps(parallel, options, device.gpu, comm.rank());
  const double rate = comm.size() * bare.flops() / (medians[0] / 1e3);
  const double peak =
      device.gpu ? comm.size() * peak_flops(gpus.gpus->info(device.index).name, options.precision) : 0;
  Json result{{"model", options.model},
              {"flops_per_second", rate},
              {"utilization", peak > 0 ? Json(rate / peak) : Json(nullptr)},
              {"ranks", comm.size()},
              {"device", device.gpu ? gpus.gpus->info(device.index).name : "cpu"},
              {"parameters", parameter_count(parallel.module())},
              {"rows_per_rank", options.rows_per_rank},
              {"threads", options.threads},
              {"buckets", parallel.bucket_sizes()},
              {"step_ms", medians[0]},
              {"alone_ms", medians[1]},
              {"bare_ms", medians[2]},
              {"ratio_to_alone", medians[0] / medians[1]},
              {"alone_to_bare", medians[1] / medians[2]},
              {"profile", std::move(profile)}};
  result.update(measure_graph(options, rank, device.gpu ? gpus.gpus.get() : nullptr));
  return result;
}

}  // namespace muster
