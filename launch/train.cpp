#include "trainer/loop/trainer.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include "core/hash.h"
#include "core/keep_memory.h"
#include "core/text.h"
#include "launch/guard.h"
#include "launch/invocation.h"
#include "launch/programs.h"
#include "launch/signals.h"
#include "launch/stack.h"
#include "trainer/comm/agreement.h"
#include "trainer/loop/fault_drill.h"
#include "trainer/runlog/events.h"

namespace muster {
namespace {

struct TrainFlags {
  std::string config;
  std::vector<std::string> overrides;
  std::string resume = "auto";
  std::vector<std::string> allow;
  bool dry_run = false;
  std::string drill;
};

/// Writes faults of this rank beside the run's events, once the run directory is known.
class FaultRecorder {
 public:
  explicit FaultRecorder(int rank) : rank_(rank) {}

  RankStatus status;  ///< set by the trainer

  void open(const std::string& directory, const std::string& run_id, std::uint64_t generation) {
    directory_ = directory;
    run_id_ = run_id;
    generation_ = generation;
  }
  /// `stack`: where this rank's main thread is, where it may hang. Never throws: a full disk may be the very
  /// failure, and the other ranks must be taken down all the same.
  void write(FileSystem& files, const Error& error, const std::vector<std::string>& stack) const noexcept
      try {
    if (directory_.empty()) return;
    const std::string name = rank_ == 0 ? "events.jsonl" : fmt::format("events.rank-{}.jsonl", rank_);
    EventLog events(files, std::filesystem::path(directory_) / name, run_id_, generation_, rank_);
    events.write("fault", status.steps_done.load(),
                 {{"exit_code", error.exit_code()},
                  {"message", error.message()},
                  {"where", error.where()},
                  {"phase", to_text(status.phase.load())},
                  {"stack", stack}});
    events.sync();
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "muster: the failure cannot be recorded: %s\n", failure.what());
  }

 private:
  int rank_;
  std::string directory_;
  std::string run_id_;
  std::uint64_t generation_ = 0;
};

std::string describe_plan(const Json& plan) {
  const auto count = [&](const char* key) { return human_count(plan.at(key).get<std::uint64_t>()); };
  const auto split = plan.at("split").get<std::string>();
  std::vector<std::string> others;
  for (const auto& [name, rows] : plan.at("rows_per_split").items()) {
    if (name != split) others.push_back(fmt::format("{} {}", name, human_count(rows.get<std::uint64_t>())));
  }
  std::string text = "dry run, nothing was written:";
  text += fmt::format("\n  data    {} rows of '{}'{}", count("rows"), split,
                      others.empty() ? "" : "; " + join(others, ", "));
  text += fmt::format("\n  steps   {} in all, {} an epoch, {} rows each", count("total_steps"),
                      count("steps_per_epoch"), count("batch_size"));
  text += fmt::format("\n  lanes   {} on {} ranks: {} (the fullest has {:.2f} times the mean)",
                      count("lanes"), count("ranks"), plan.at("lanes_per_rank").dump(),
                      plan.at("max_over_mean_load").get<double>());
  text += fmt::format(
      "\n  shuffle {} blocks at a time (window {}): counts of a class in a batch vary {:.1f} times as much "
      "as in a true shuffle, if the files are sorted by it",
      count("live_blocks"), count("window"), plan.at("shuffle_variance_ratio").get<double>());
  text += fmt::format("\n  memory  {} for batches and blocks on rank 0 (loader.memory bounds it)",
                      human_bytes(plan.at("memory_bytes").get<std::uint64_t>()));
  text += fmt::format(
      "\n  model   {}{} parameters, {} trained: {} with gradients and optimizer state, on each rank; "
      "activations "
      "come on top",
      plan.at("parameters_are_least").get<bool>() ? "(before categories are counted) " : "",
      count("parameters"), count("trainable_parameters"),
      human_bytes(plan.at("model_memory_bytes").get<std::uint64_t>()));
  return text;
}

int finish(Console& console, const TrainResult& result) {
  Json json = {{"directory", result.directory},
               {"checkpoint", result.checkpoint},
               {"running_digest", result.running_digest},
               {"metrics", result.metrics},
               {"plan", result.plan}};
  switch (result.outcome) {
    case TrainOutcome::kDryRun: {
      json = result.plan;
      console.result(json, describe_plan(json));
      return 0;
    }
    case TrainOutcome::kStopped:
      json["outcome"] = "stopped";
      json["stop_reason"] = result.stop_reason;
      console.result(json,
                     fmt::format("stopped ({}); checkpoint {}. Resume: muster train {}", result.stop_reason,
                                 result.checkpoint, shell_quoted(result.directory + "/config.yaml")));
      return static_cast<int>(ErrorCode::kCheckpointed);
    case TrainOutcome::kFinished:
      break;
  }
  json["outcome"] = "finished";
  const std::string checkpoint = result.directory + "/checkpoints/" + result.checkpoint;
  console.result(
      json, fmt::format("finished; checkpoint {}. Next: muster evaluate {}", checkpoint, result.directory));
  return 0;
}

/// Ranks that are other programs, or have another MPI library, would train something else, or hang.
void refuse_other_programs(Ranks& ranks) {
  if (ranks.comm().size() == 1) return;
  const Sha256 program = together(ranks.comm(), "program", [] {
    const std::vector<std::byte> bytes = make_posix_file_system()->read("/proc/self/exe");
    return sha256(std::span(bytes));
  });
  same_everywhere(ranks.comm(), "program (SHA-256 of the executable)", program.hex());
  same_everywhere(ranks.comm(), "MPI library", ranks.mpi_version());
}

int run_train(Invocation& invocation, const TrainFlags& flags) {
  const auto started = std::chrono::steady_clock::now();
  std::optional<FaultDrill> drill;
  if (!flags.drill.empty()) drill = FaultDrill::parse(flags.drill);
  const std::vector<ModelOptions> models = registered_model_options();
  // The deadline is needed before there are ranks to agree on a faulty config: read it alone, agree
  // afterwards.
  const auto files = make_posix_file_system();
  const bool other_run = std::ranges::any_of(flags.overrides, [](const std::string& text) {
    return text.starts_with("run.name=") || text.starts_with("run.dir=");
  });
  const auto early = attempt([&] {
    const Config config = Config::load(flags.config, flags.overrides, models);
    return other_run ? config : at_its_run(*files, flags.config, config);
  });
  // Before anything asks LibTorch about CUDA.
  const bool on_cpu = !early.ok() || early.value().text_at("train", "device") == "cpu";
  const GpuModule gpus =
      on_cpu ? GpuModule{nullptr, "train.device is cpu", false} : load_gpu_module(own_program());
  GuardOptions guard;
  if (early.ok()) {
    const Json& deadline = early.value().at("log", "deadline_seconds");
    guard.deadline_seconds = deadline.is_null() ? 0 : deadline.get<double>();
  }
  guard.deadline_key = "log.deadline_seconds";
  FaultRecorder faults(launched_rank());
  guard.status = &faults.status;
  guard.on_fault = [&](const Error& error, bool of_all) {
    faults.write(*files, error, of_all ? stack_of_main_thread() : std::vector<std::string>());
  };
  keep_freed_memory();
  return with_ranks(guard, [&](Ranks& ranks) {
    Communicator& comm = ranks.comm();
    Console console(invocation.json, comm.rank() != 0);
    refuse_other_programs(ranks);
    TrainOptions options(together(comm, "config", [&] { return early.value(); }));
    options.start = {flags.resume, flags.allow};
    options.dry_run = flags.dry_run;
    if (auto probe = attempt([] { return probe_program(); })) options.probe = std::move(probe).value();
    options.ranks_on_host = ranks.on_this_host();
    options.mpi_version = ranks.mpi_version();
    options.gpus = &gpus;
    options.share_gpus = std::getenv("MUSTER_SHARE_GPUS") != nullptr;
    options.requests = &signal_requests();
    if (const char* end = std::getenv("SLURM_JOB_END_TIME"); end != nullptr) options.scheduler_end = end;
    options.started = started;
    options.log = console.sink();
    options.progress = [&](const Progress& progress) { console.progress(progress); };
    options.on_lone_failure = [&](const Error& error) { take_down(ranks, guard, error); };
    options.status = &faults.status;
    options.on_run = [&](const std::string& directory, const std::string& run_id, std::uint64_t generation) {
      faults.open(directory, run_id, generation);
    };
    together(comm, "drill", [&] {
      if (!drill || drill->rank() < comm.size()) return 0;
      fail(ErrorCode::kUsage, "--drill {}: there are {} ranks, no rank {}", flags.drill, comm.size(),
           drill->rank());
    });
    const auto drilled = drill ? drill->wrap(*files, comm.rank()) : nullptr;
    if (drill) {
      options.before_step = [&](std::uint64_t step, torch::nn::Module& model) {
        drill->before_step(comm.rank(), step, model);
      };
      options.wall_clock = drill->clock(comm.rank());
      options.wrap_reader = drill->reads(comm.rank());
    }
    comm.barrier("handlers");
    if (!flags.dry_run) console.line("ready");
    options.keep_reading = [&](std::shared_ptr<void> used) { invocation.still_reading = std::move(used); };
    return finish(console, train(comm, drilled ? *drilled : *files, options));
  });
}

}  // namespace

void add_train(CLI::App& app, Invocation& invocation) {
  CLI::App* command = add_command(
      app, invocation, "train", "train a model; under mpirun or srun on all their ranks; resumes by itself",
      "mpirun -np 2 --bind-to none muster train configs/card-fraud.yaml --set train.epochs=3");
  auto flags = std::make_shared<TrainFlags>();
  command
      ->add_option("CONFIG", flags->config,
                   "the configuration (YAML; muster config --explain lists the keys)")
      ->required();
  command->add_option("--set", flags->overrides, "SECTION.KEY=VALUE over the file's")
      ->take_all()
      ->allow_extra_args(false);
  command
      ->add_option("--resume", flags->resume,
                   "auto: continue the run of that name; never: start NAME-2; or a run directory or "
                   "checkpoint")
      ->capture_default_str();
  command->add_option("--allow", flags->allow, "a trajectory key that may differ from the run on disk")
      ->take_all()
      ->allow_extra_args(false);
  std::vector<std::string> drills;
  for (const auto& [name, help] : FaultDrill::kinds()) drills.push_back(fmt::format("  {}: {}", name, help));
  command->add_option(
      "--drill", flags->drill,
      "KIND@STEP:RANK: a fault on purpose, before the step with this number of this start:\n" +
          join(drills, "\n"));
  command->add_flag("--dry-run", flags->dry_run,
                    "print rows, steps, lanes, memory and parameters; write nothing");
  command->callback([&invocation, flags] {
    invocation.collective = true;
    invocation.action = [&invocation, flags] { return run_train(invocation, *flags); };
  });
}

}  // namespace muster
