#pragma once
// The training loop: from a config, a dataset and a group of ranks to a committed model.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/file_system.h"
#include "core/log.h"
#include "core/text.h"
#include "data_loader/dataset/dataset.h"
#include "trainer/comm/communicator.h"
#include "trainer/comm/gpu_module.h"
#include "trainer/comm/rank_status.h"
#include "trainer/config/config.h"
#include "trainer/loop/run_start.h"
#include "trainer/runlog/progress.h"
#include "trainer/runlog/stop_requests.h"

namespace torch::nn {
class Module;
}

namespace muster {

struct TrainOptions {
  explicit TrainOptions(Config resolved) : config(std::move(resolved)) {}
  Config config;
  StartOptions start;
  bool dry_run = false;
  std::filesystem::path
      probe;  ///< the program muster-probe, for damaged partitions; "": opened by this process
  const GpuModule* gpus = nullptr;  ///< not owned, outlives the training; null: the CPU alone
  bool share_gpus = false;  ///< ranks may have the same GPU, which NCCL refuses unless it is told otherwise
  std::string mpi_version;  ///< for the record; "" without MPI
  int ranks_on_host = 0;    ///< to share the cores; 0: all ranks are on this host
  StopRequests* requests = nullptr;  ///< not owned; may be null
  LogSink log = silent_log();
  std::chrono::steady_clock::time_point started =
      std::chrono::steady_clock::now();  ///< train.wall_seconds count from here
  /// Unix seconds, for time stamps and to understand `scheduler_end` at the start: a clock that jumps changes
  /// nothing else.
  std::function<double()> wall_clock = seconds_since_epoch;
  std::string scheduler_end;  ///< when the job ends, in Unix seconds as the scheduler says; "" if it does not
  std::function<void(const Progress&)> progress;  ///< rank 0, every log.every_steps steps; may be empty
  /// Called with a failure that only this rank knows of, before anything is unwound that waits for the
  /// others: the place to take them down. If it returns, the failure is thrown. May be empty.
  std::function<void(const Error&)> on_lone_failure;
  /// Called on every rank when the run directory is known, so that faults can be written there; may be empty.
  std::function<void(const std::string& directory, const std::string& run_id, std::uint64_t generation)>
      on_run;
  /// Called on every rank before each step, with the number of steps that this start has done; may be empty.
  std::function<void(std::uint64_t step, torch::nn::Module& model)> before_step;
  /// Called at the end of a run, also of one that fails, where a read has not come back: with what the read
  /// still uses, and nothing else. Letting go of it waits for the read; who cannot wait ends the process
  /// first. Empty: the end waits.
  std::function<void(std::shared_ptr<void>)> keep_reading;
  /// What all readers of the data's blocks go through; may be empty.
  ReaderWrapper wrap_reader;
  /// Kept up to date on every rank, for whoever reports a fault; not owned, may be null.
  RankStatus* status = nullptr;
};

enum class TrainOutcome { kFinished, kStopped, kDryRun };

struct TrainResult {
  TrainOutcome outcome = TrainOutcome::kFinished;
  std::string directory;
  std::string checkpoint;  ///< name of the last one committed
  std::string running_digest;
  std::string stop_reason;  ///< of a stopped one
  Json metrics;             ///< {split: {metric: value}} of the last evaluation
  Json plan;                ///< of a dry run: rows, steps, lanes, memory, parameters
};

/// Collective. Runs a training to its end, or until it is asked to stop. Throws AgreedError where all ranks
/// know of the failure, any other exception where only this rank does: the caller must then take the others
/// down.
TrainResult train(Communicator& comm, FileSystem& files, const TrainOptions& options);

/// The models that are registered, as the config's parser wants them.
std::vector<ModelOptions> registered_model_options();

}  // namespace muster
