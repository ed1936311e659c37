#pragma once
// The checkpoints of a run: published whole or not at all, and never chosen when damaged. Format:
// docs/checkpoint.md.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/file_system.h"
#include "core/json.h"
#include "core/log.h"
#include "trainer/checkpoint/checkpoint_part.h"
#include "trainer/checkpoint/checkpoint_reader.h"

namespace muster {

/// A checkpoint that was passed over, and why.
struct RejectedCheckpoint {
  std::string name;
  Error reason;
};

struct CheckpointChoice {
  std::optional<CheckpointInfo> checkpoint;
  std::vector<RejectedCheckpoint> rejected;
};

/// Where all ranks write the files of one attempt at a checkpoint: a name that none has had before in this
/// generation.
std::filesystem::path draft_of(const std::filesystem::path& directory, const std::string& name,
                               unsigned attempt);

/// What rank 0 says of a checkpoint beside its files.
struct CheckpointHead {
  std::uint64_t step = 0;
  Json state;
};

/// Which checkpoints stay: see CheckpointStore::prune.
struct KeepRule {
  std::size_t newest = 2;         ///< at least 2
  std::uint64_t every_steps = 0;  ///< those of a step divisible by it stay for ever; 0: none
  std::vector<std::string> names;
};

/// The checkpoints of one run directory. Used on rank 0 only, by one thread at a time.
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
  /// Makes the files in `draft` (written by write_part on any ranks) a checkpoint: writes the manifest,
  /// syncs, renames. Returns its name. Error{kStorage}: earlier checkpoints are as they were, and no half one
  /// is under a checkpoint's name. Error{kNothingToDo}: superseded.
  std::string publish(const std::filesystem::path& draft, const CheckpointHead& head,
                      const FileStamps& stamps);
  /// After `published`: writes LATEST, then deletes all but the first `rule.newest` good ones in
  /// latest_good's order, damaged ones between them, and what else the rule names. A failure is only logged.
  void tidy(const std::string& published, const KeepRule& rule);
  /// Removes a draft that will not be published. A failure is only logged: the next tidy() removes it.
  void drop(const std::filesystem::path& draft);
  /// For one rank that has all of it: write_part, publish, tidy.
  std::string commit(const CheckpointContent& content, const KeepRule& rule);

  std::uint64_t generation() const { return generation_; }
  const std::filesystem::path& directory() const { return directory_; }

 private:
  void refuse_if_superseded(const std::string& name);
  bool good(const std::string& name);
  void prune(const KeepRule& rule);
  void discard(const std::string& name);
  FileSystem* files_;
  std::filesystem::path directory_;
  std::string run_id_;
  LogSink log_;
  std::uint64_t generation_ = 0;
  std::string parent_;
  std::set<std::string> known_good_;  ///< written or verified by this process
};

}  // namespace muster
