#pragma once
// Checkpoints on disk: committed whole or not at all, hashed, never chosen when damaged. Format:
// docs/checkpoint.md.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/file_system.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/log.h"
#include "trainer/safetensors.h"

namespace muster {

/// What a checkpoint holds, in memory.
struct CheckpointContent {
  std::uint64_t step = 0;  ///< global: optimizer steps done
  /// What the trainer wants to find again: cursor, running digest, bucket plan, best metric, fingerprint,
  /// config, versions….
  Json state;
  Json pipeline;
  std::string contract_yaml;
  std::vector<TensorBlob> model;
  std::vector<TensorBlob> optimizer;
};

/// A checkpoint's manifest.json, parsed; files not yet read.
struct CheckpointInfo {
  std::filesystem::path directory;
  std::string name;  ///< "g0003-step-00001200"
  std::uint64_t generation = 0;
  std::uint64_t step = 0;
  std::string parent;  ///< name of the checkpoint its run continued from; "" for a fresh start
  std::string run_id;
  Json manifest;
};

/// A checkpoint that was passed over, and why.
struct RejectedCheckpoint {
  std::string name;
  Error reason;
};

struct CheckpointChoice {
  std::optional<CheckpointInfo> checkpoint;
  std::vector<RejectedCheckpoint> rejected;
};

/// "g0003-step-00001200".
std::string checkpoint_name(std::uint64_t generation, std::uint64_t step);

/// Reads a checkpoint's manifest and checks size and SHA-256 of every file it lists; the manifest's own hash
/// too.
Result<CheckpointInfo> verify_checkpoint(FileSystem& files, const std::filesystem::path& directory);
/// As verify_checkpoint, then reads the content.
Result<CheckpointContent> load_checkpoint(FileSystem& files, const std::filesystem::path& directory);

/// The checkpoints of one run directory. Used by rank 0 only; not thread-safe.
class CheckpointStore {
 public:
  /// `directory` is RUN/checkpoints. Nothing is created yet. `files` outlives the store.
  CheckpointStore(FileSystem& files, std::filesystem::path directory, std::string run_id,
                  LogSink log = silent_log());

  /// The newest good checkpoint by the rules of docs/checkpoint.md (highest generation; else that claim's
  /// parent; else the newest good one before that parent in its generation; then that generation's claim, …),
  /// all files verified.
  CheckpointChoice latest_good();
  /// Claims the next generation, continuing from `parent` ("" for none): link of a finished, fsynced file, so
  /// that of two concurrent starts one loses (and takes the next number).
  std::uint64_t claim(const std::string& parent);
  /// Whether a newer generation has been claimed than ours: this start is an orphan and must end with
  /// kNothingToDo.
  bool superseded();
  /// Writes, syncs, publishes; then deletes all but the first `keep` (>= 2) good ones in latest_good's order,
  /// damaged ones between them, and `protect`. Returns the name. Error{kStorage}: earlier checkpoints are as
  /// they were, and no half one is under its name; a failure to delete is only logged. Error{kNothingToDo}:
  /// superseded, nothing was written.
  std::string commit(const CheckpointContent& content, std::size_t keep,
                     const std::vector<std::string>& protect = {});
  std::uint64_t generation() const;
  const std::filesystem::path& directory() const;

  /// Called at each named point inside commit ("files-written", "manifest-written", "renamed", …); tests kill
  /// there.
  std::function<void(const std::string&)> on_point;

 private:
  bool good(const std::string& name);
  void publish(const std::string& name, const CheckpointContent& content);
  void prune(std::size_t keep, const std::vector<std::string>& protect);
  void discard(const std::string& name);
  void point(const std::string& name) const;
  FileSystem* files_;
  std::filesystem::path directory_;
  std::string run_id_;
  LogSink log_;
  std::uint64_t generation_ = 0;
  std::string parent_;
  std::set<std::string> known_good_;  ///< written or verified by this process
};

}  // namespace muster
