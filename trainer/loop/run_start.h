#pragma once
// Where a start begins: a new run, or the newest good checkpoint of an earlier one. Runs on rank 0 only.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/file_system.h"
#include "core/log.h"
#include "trainer/checkpoint/checkpoint_store.h"
#include "trainer/config/config.h"
#include "trainer/runlog/run_directory.h"

namespace muster {

/// What identifies a run beside its config's identity keys.
struct DataIdentity {
  std::string fingerprint;  ///< of the dataset
  std::string contract;     ///< hash
  // For the differences, where there are some:
  std::string contract_yaml;
  std::uint64_t partitions = 0;
  std::uint64_t rows = 0;  ///< of all partitions
};

struct StartOptions {
  std::string resume = "auto";       ///< "auto", "never", or a run directory or checkpoint
  std::vector<std::string> allow;    ///< trajectory keys that may differ from the run on disk
  std::vector<ModelOptions> models;  ///< that are known: what an earlier version's config leaves out follows
};

struct RunStart {
  std::filesystem::path directory;
  std::string run_id;
  bool resumed = false;
  bool chosen_by_name = false;                  ///< --resume names the checkpoint; else it is the newest good
  std::string parent;                           ///< name of the checkpoint continued from
  std::optional<CheckpointContent> checkpoint;  ///< content continued from
  std::vector<RejectedCheckpoint> rejected;
  std::vector<ConfigChange> changes;  ///< allowed ones, for the record
};

/// Decides; creates nothing. Error{kConfig} with the differences when the run on disk is another one,
/// Error{kNothingToDo} when it is finished and no allowed change makes it longer, Error{kStorage} when there
/// are checkpoints but no good one.
RunStart decide_start(FileSystem& files, const Config& config, const DataIdentity& data,
                      const StartOptions& options);

/// The config.yaml of a run directory means that run, under whatever name and wherever it lies now: run.dir
/// and run.name follow from the file's place. Any other file's config stays as it is.
Config at_its_run(FileSystem& files, const std::filesystem::path& config_file, const Config& config);

/// Keys that the program resolved at the first start (lanes, window, threads, horizon) taken over from the
/// earlier config where this start leaves them open.
Config inherit_resolved(const Config& config, const Config& earlier);

}  // namespace muster
