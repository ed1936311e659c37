#include "trainer/loop/trainer.h"

#include <algorithm>
#include <set>
#include <span>
#include <thread>

#include "core/text.h"
#include "data_loader/reading/probe.h"
#include "trainer/checkpoint/module_state.h"
#include "trainer/checkpoint/start_weights.h"
#include "trainer/checkpoint/tensor_exchange.h"
#include "trainer/comm/agreement.h"
#include "trainer/comm/device_choice.h"
#include "trainer/comm/gather.h"
#include "trainer/data/bad_rows.h"
#include "trainer/data/leak_check.h"
#include "trainer/data/run_plan.h"
#include "trainer/evaluation/decision.h"
#include "trainer/evaluation/evaluator.h"
#include "trainer/gradients/frozen.h"
#include "trainer/loop/environment.h"
#include "trainer/loop/model_setup.h"
#include "trainer/loop/out_of_memory.h"
#include "trainer/loop/run_record.h"
#include "trainer/loop/training_run.h"

namespace muster {
namespace {

/// Collective. As many threads as the fullest host has cores per rank: the number decides the bits, so it is
/// the same on all.
Config resolve_threads(Communicator& comm, const Config& config, int ranks_on_host) {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  const unsigned mine = std::max(1U, cores / static_cast<unsigned>(std::max(1, ranks_on_host)));
  const std::uint32_t threads = smallest(comm, "threads", mine);
  return config.at("train", "threads").is_null() ? config.with("train", "threads", threads) : config;
}

Config resolve(const Config& config, const RunPlan& plan) {
  Config resolved =
      config.with("batch", "lanes", plan.order.lanes).with("batch", "window", plan.order.window);
  if (config.at("schedule", "horizon").is_null())
    resolved = resolved.with("schedule", "horizon", plan.total_steps);
  return resolved;
}

Json start_json(const RunStart& start) {
  const bool has = start.checkpoint.has_value();
  Json changes = Json::array();
  for (const ConfigChange& change : start.changes) {
    changes.push_back({{"key", change.path}, {"before", change.before}, {"after", change.after}});
  }
  return {{"directory", start.directory.string()},
          {"run_id", start.run_id},
          {"resumed", start.resumed},
          {"parent", start.parent},
          {"changes", changes},
          {"step", has ? start.checkpoint->step : 0},
          {"state", has ? start.checkpoint->state : Json(nullptr)},
          {"pipeline", has ? start.checkpoint->pipeline : Json(nullptr)}};
}

void announce(RunRecord* record, const Prepared& run, const LogSink& log) {
  if (record == nullptr) return;
  const auto step = run.start.at("step").get<std::uint64_t>();
  Json fields = {{"plan", run.plan.to_json()},
                 {"parameters", parameter_count(run.model->module())},
                 {"trainable_parameters", trainable_count(run.model->module())},
                 {"fingerprint", run.dataset.manifest().fingerprint().hex()},
                 {"environment", run.environment}};
  if (run.start.at("resumed").get<bool>()) {
    const Json differences =
        environment_changes(run.start.at("state").at("environment"), fields.at("environment"));
    fields["checkpoint"] = run.start.at("parent");
    fields["changes"] = run.start.at("changes");
    fields["bits_may_differ"] = differences;
    record->event("resumed", step, fields);
    log(LogLevel::kInfo,
        fmt::format("resumed at step {} from {}{}", step, run.start.at("parent").get<std::string>(),
                    differences.empty()
                        ? ""
                        : "; bits may differ: " + join(differences.get<std::vector<std::string>>(), ", ")));
  } else {
    fields["config"] = run.config.values();
    fields["init"] = run.start.at("init");
    record->event("run_started", step, fields);
  }
  const std::uint64_t parameters = parameter_count(run.model->module());
  const std::uint64_t trained = trainable_count(run.model->module());
  log(LogLevel::kInfo,
      fmt::format("model '{}': {} parameters{}, {} on each rank with gradients and optimizer state",
                  run.config.text_at("model", "name"), human_count(parameters),
                  trained < parameters ? fmt::format(", of which {} are trained", human_count(trained)) : "",
                  human_bytes(model_memory(run.model->module(), optimizer_settings(run.config)))));
  const std::uint64_t warm_up = run.config.unsigned_at("schedule", "warmup_steps");
  if (warm_up >= run.plan.total_steps) {
    log(LogLevel::kWarning,
        fmt::format("schedule.warmup_steps is {}, the run has {} steps: the learning rate "
                    "never gets to its full height",
                    warm_up, run.plan.total_steps));
  }
}

/// Of the passes over the data before there is a run to checkpoint.
void look_for_stop(const TrainOptions& options) {
  if (options.requests == nullptr || !options.requests->stop.load()) return;
  fail(ErrorCode::kCheckpointed, "stopped before the first step, nothing is lost: run it again");
}

FeaturePipeline make_pipeline(Communicator& comm, const Config& config, const Dataset& dataset,
                              const Json& decision, const TrainOptions& options) {
  if (decision.at("resumed").get<bool>()) {
    return together(comm, "pipeline", [&] {
      return FeaturePipeline::from_json(dataset.contract(), decision.at("pipeline"), "pipeline.json");
    });
  }
  return fit_pipeline(comm, dataset, config.text_at("data", "split"), field_choice(config), options.log,
                      [&options] { look_for_stop(options); });
}

/// For the record, the same on all ranks; rank 0's own GPU is told with its memory.
std::string describe_device(Communicator& comm, const ComputeDevice& device, const TrainOptions& options) {
  if (!device.gpu) return "cpu";
  const Gpus& gpus = *options.gpus->gpus;
  const GpuInfo mine = gpus.info(device.index);
  const std::vector<std::string> names = gather_texts(comm, "GPUs", mine.name);
  const std::set<std::string> kinds(names.begin(), names.end());
  if (comm.rank() == 0) {
    options.log(LogLevel::kInfo,
                fmt::format("{} on a GPU each; rank 0's is number {}, {}, {} of {} free ({})",
                            comm.size() == 1 ? "one rank" : fmt::format("{} ranks", comm.size()),
                            device.index, mine.name, human_bytes(gpus.free_bytes(device.index)),
                            human_bytes(mine.bytes), gpus.version()));
  }
  return join(std::vector<std::string>(kinds.begin(), kinds.end()), ", ") + " (" + gpus.version() + ")";
}

std::vector<std::string> frozen_patterns(const Config& config) {
  return config.at("model", "frozen").get<std::vector<std::string>>();
}

/// Collective. The model with the weights that it starts with on rank 0, and what is known of them: see
/// start_from_weights.
std::pair<std::unique_ptr<Model>, Json> make_start_model(Communicator& comm, FileSystem& files,
                                                         const Config& config, const Dataset& dataset,
                                                         const FeaturePipeline& pipeline, const RunPlan& plan,
                                                         const RunStart& start, const ComputeDevice& device,
                                                         const LogSink& log) {
  Json init;
  auto model = together(comm, "model", [&] {
    auto made = make_configured_model(config, dataset.contract(), pipeline, device);
    freeze(made->module(), frozen_patterns(config));
    check_rows_together(config, plan.order, comm.size(), made->module());
    if (comm.rank() != 0) return made;
    if (start.checkpoint) {
      load_module_state(made->module(), start.checkpoint->model);
      init = start.checkpoint->state.value("init", Json(nullptr));
    } else {
      init = start_from_weights(files, config, pipeline.to_json(), made->module(), log);
    }
    return made;
  });
  return {std::move(model), std::move(init)};
}

void guard_against_leaks(Communicator& comm, const Config& config, const Dataset& dataset,
                         const TrainOptions& options) {
  if (dataset.contract().only(Role::kLabel) == nullptr)
    return;  // where one is needed that is said when the model is made
  const LeakReport report =
      check_leaks(comm, dataset, config.text_at("data", "split"), config.text_at("evaluate", "split"),
                  field_choice(config), [&options] { look_for_stop(options); });
  apply_leak_policy(comm, report, config.text_at("data", "leaks"), options.log);
}

/// Whether opening it kills or stops muster-probe: then this process had better not. What it refuses in order
/// is left to the reader, who may still find good blocks.
bool is_dangerous(const std::filesystem::path& probe, const std::filesystem::path& file) {
  if (probe.empty()) return false;
  const auto answers = probe_files(probe, std::span(&file, 1));
  return !answers.front().ok() && is_harmful(answers.front().error());
}

DataIdentity identity_of(const Dataset& dataset) {
  DataIdentity data{dataset.manifest().fingerprint().hex(), dataset.manifest().contract.hex()};
  data.contract_yaml = dataset.contract().to_yaml();
  data.partitions = dataset.manifest().partitions.size();
  data.rows = dataset.manifest().rows();
  return data;
}

/// A run that is under way goes on without what is gone; none begins so.
void take_damage(Communicator& comm, Dataset& dataset, bool resumed, const TrainOptions& options) {
  together(comm, "damaged partitions", [&] {
    if (!resumed && !dataset.damage().empty()) throw Error(dataset.damage().front().error);
    for (const Dataset::Damage& damage : dataset.damage()) {
      if (is_dangerous(options.probe, damage.error.where())) dataset.give_up(damage.partition);
    }
    return 0;
  });
  if (comm.rank() != 0) return;
  for (const Dataset::Damage& damage : dataset.damage())
    options.log(LogLevel::kWarning,
                fmt::format("{} (data.on_bad_rows: quarantine goes on without what cannot be read of it)",
                            damage.error.what()));
}

/// What the loss cannot learn is refused before data are read.
int check_targets(const Config& config, const Contract& contract, const FeaturePipeline& pipeline) {
  const std::vector<TargetLabel>& targets = pipeline.targets();
  static_cast<void>(model_outputs(contract, parse_loss_kind(config.text_at("loss", "kind")), targets));
  static_cast<void>(best_metric(config, contract, targets));
  refuse_several_targets(decision_settings(config), targets.size());
  return 0;
}

/// Start weights that are not there, and frozen parameters that the model does not have, likewise.
int check_start_model(Communicator& comm, FileSystem& files, const Config& config, const Contract& contract,
                      const FeaturePipeline& unfitted) {
  if (comm.rank() == 0) check_weight_source(files, config);
  if (const auto frozen = frozen_patterns(config); !frozen.empty())
    freeze(make_configured_model(config, contract, unfitted)->module(), frozen);
  return 0;
}

TrainResult dry_run(Communicator& comm, FileSystem& files, const Config& config, const Dataset& dataset) {
  const auto pipeline = together(comm, "features", [&] { return unfitted_pipeline(config, dataset); });
  together(comm, "targets", [&] { return check_targets(config, dataset.contract(), pipeline); });
  together(comm, "start weights",
           [&] { return check_start_model(comm, files, config, dataset.contract(), pipeline); });
  const RunPlan plan = make_run_plan(comm, config, dataset, pipeline);
  const auto model = together(comm, "model", [&] {
    auto made = make_configured_model(config, dataset.contract(), pipeline);
    freeze(made->module(), frozen_patterns(config));
    check_rows_together(config, plan.order, comm.size(), made->module());
    return made;
  });
  TrainResult result;
  result.outcome = TrainOutcome::kDryRun;
  result.plan = plan.to_json();
  result.plan["parameters"] = parameter_count(model->module());
  for (const TensorShape& tensor : tensor_shapes(model->module()))
    result.plan["tensors"].push_back({{"name", tensor.name}, {"shape", tensor.shape}});
  result.plan["trainable_parameters"] = trainable_count(model->module());
  result.plan["model_memory_bytes"] = model_memory(model->module(), optimizer_settings(config));
  // Embeddings grow with vocabularies, which a pass over the data would tell.
  result.plan["parameters_are_least"] =
      std::ranges::any_of(pipeline.tensors(), [](const TensorSpec& tensor) { return !tensor.ids.empty(); });
  result.plan["ranks"] = comm.size();
  for (int rank = 0; rank < comm.size(); ++rank) {
    result.plan["lanes_per_rank"].push_back(lanes_of_rank(static_cast<std::uint32_t>(rank),
                                                          static_cast<std::uint32_t>(comm.size()),
                                                          plan.order.lanes)
                                                .count());
  }
  for (const std::string& name : dataset.row_index().split_names()) {
    result.plan["rows_per_split"][name] = dataset.row_index().rows(dataset.row_index().split(name));
  }
  return result;
}

}  // namespace

TrainResult train(Communicator& comm, FileSystem& files, const TrainOptions& options) {
  Config config = options.config;
  const bool tolerant = bad_row_rule(config).quarantine;
  Dataset dataset = together(comm, "open dataset", [&] {
    return Dataset::open(config.text_at("data", "dataset"), config.text_at("data", "root"),
                         tolerant ? Dataset::Damaged::kTolerate : Dataset::Damaged::kRefuse);
  });
  dataset.wrap_readers(options.wrap_reader);
  if (const std::string warning = dataset.warning(); !warning.empty() && comm.rank() == 0)
    options.log(LogLevel::kWarning, warning);
  same_everywhere(comm, "config", canonical(config.values()));
  same_everywhere(comm, "dataset", dataset.manifest().fingerprint().hex());

  RunStart start;
  Json decision = parse_json(on_rank_zero(comm, "decide start",
                                          [&] {
                                            const DataIdentity data = identity_of(dataset);
                                            StartOptions wanted = options.start;
                                            wanted.models = registered_model_options();
                                            start = decide_start(files, config, data, wanted);
                                            return start_json(start).dump();
                                          }),
                             "start", ErrorCode::kBug);
  const std::filesystem::path directory = decision.at("directory").get<std::string>();
  config = config.with("run", "dir", directory.parent_path().string())
               .with("run", "name", directory.filename().string());  // NAME-2, or where --resume points
  const bool resumed = decision.at("resumed").get<bool>();
  take_damage(comm, dataset, resumed, options);
  if (resumed)
    config = inherit_resolved(config, Config(decision.at("state").at("config"), registered_model_options()));
  if (options.dry_run) return dry_run(comm, files, config, dataset);
  config = resolve_threads(comm, config, options.ranks_on_host > 0 ? options.ranks_on_host : comm.size());
  set_compute_threads(config.unsigned_at("train", "threads"));

  const ComputeDevice device =
      choose_device(comm, config.text_at("train", "device"), options.gpus, options.share_gpus,
                    [&](const std::string& text) { options.log(LogLevel::kWarning, text); });
  if (device.gpu) options.gpus->gpus->select(device.index);
  if (!device.gpu && config.text_at("train", "precision") == "float16")
    throw AgreedError(
        Error(ErrorCode::kConfig,
              "train.precision float16 is for GPUs, and this run computes on the CPU: take bfloat16"),
        comm.rank() == 0);

  // What does not fit is refused before a pass over the data.
  const auto unfitted = together(comm, "features", [&] { return unfitted_pipeline(config, dataset); });
  together(comm, "targets", [&] { return check_targets(config, dataset.contract(), unfitted); });
  if (!resumed) {
    together(comm, "start weights",
             [&] { return check_start_model(comm, files, config, dataset.contract(), unfitted); });
  }
  RunPlan plan = make_run_plan(comm, config, dataset, unfitted);
  if (comm.rank() == 0) options.log(LogLevel::kInfo, describe(plan, comm.size()));
  config = resolve(config, plan);
  if (!resumed) guard_against_leaks(comm, config, dataset, options);
  FeaturePipeline pipeline = make_pipeline(comm, config, dataset, decision, options);
  auto [model, init] =
      make_start_model(comm, files, config, dataset, pipeline, plan, start, device, options.log);
  decision["init"] = std::move(init);
  std::unique_ptr<RunRecord> record;
  decision.update(parse_json(on_rank_zero(comm, "open run",
                                          [&] {
                                            record = std::make_unique<RunRecord>(
                                                files, start, config, options.log, options.wall_clock);
                                            return Json{{"generation", record->generation()},
                                                        {"parent_is_gone", record->parent_is_gone()}}
                                                .dump();
                                          }),
                             "run", ErrorCode::kBug));
  if (options.on_run) {
    options.on_run(decision.at("directory").get<std::string>(), decision.at("run_id").get<std::string>(),
                   decision.at("generation").get<std::uint64_t>());
  }
  std::vector<TensorBlob> optimizer_state =
      broadcast_tensors(comm, start.checkpoint ? start.checkpoint->optimizer : std::vector<TensorBlob>{});
  start.checkpoint.reset();
  if (device.gpu) comm.sum_on_gpus(*options.gpus->gpus, device.index);
  Json environment =
      describe_environment(comm, config, options.mpi_version, describe_device(comm, device, options));
  Prepared run{std::move(config), std::move(dataset),  std::move(pipeline),    std::move(plan),
               std::move(model),  std::move(decision), std::move(environment), device};
  if (device.gpu) run.allocator = options.gpus->gpus->pinned_allocator();
  announce(record.get(), run, options.log);
  const auto training = within_memory([&] {
    return std::make_unique<TrainingRun>(comm, files, options, std::move(run), std::move(record),
                                         optimizer_state);
  });
  try {
    TrainResult result = training->run();
    training->stop_reading(options.keep_reading);
    return result;
  } catch (...) {
    training->stop_reading(options.keep_reading);
    throw;
  }
}

}  // namespace muster
