#pragma once
// What a run leaves behind on rank 0: run directory, claim, events, checkpoints. Other ranks hold an empty
// one.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "trainer/checkpoint/checkpoint_store.h"
#include "trainer/config/config.h"
#include "trainer/loop/run_start.h"
#include "trainer/runlog/events.h"
#include "trainer/runlog/run_directory.h"
#include "trainer/runlog/run_sink.h"

namespace muster {

/// Rank 0's hold on the run directory: lock, generation, events and checkpoints.
class RunRecord {
 public:
  /// Takes the lock, claims the next generation (Error{kConfig} when the run has gone on since `start` was
  /// decided), opens events.jsonl and the log sinks, writes config.yaml. Reports
  /// rejected checkpoints.
  /// `clock`: of the events' times, Unix seconds.
  RunRecord(FileSystem& files, const RunStart& start, const Config& config, const LogSink& log,
            std::function<double()> clock = seconds_since_epoch);

  /// Where events cannot be written that is a warning, and they are once they can: a full disk ends no run
  /// that waits for room.
  void event(const std::string& name, std::uint64_t step, const Json& fields = Json::object());
  /// For what only they take; events reach them by `event`.
  RunSinks& sinks() { return *sinks_; }
  /// Makes what was logged durable, then the draft a checkpoint (see CheckpointStore), then deletes old ones.
  /// `metrics`, unless empty, replaces metrics.json. May run on another thread beside event() and sinks(),
  /// one call at a time.
  std::string publish(const std::filesystem::path& draft, const CheckpointHead& head,
                      const FileStamps& stamps, const KeepRule& keep, const Json& metrics);
  /// As publish, for drafts that will not be.
  void drop(const std::filesystem::path& draft) { store_.drop(draft); }
  /// The checkpoint that this start continues from was deleted by an earlier start that had not yet seen the
  /// claim: a new one is due at once.
  bool parent_is_gone() const { return parent_is_gone_; }
  const std::filesystem::path& checkpoints() const { return store_.directory(); }
  std::uint64_t generation() const { return store_.generation(); }

 private:
  FileSystem* files_;
  LogSink log_;
  std::filesystem::path directory_;
  RunLock lock_;
  CheckpointStore store_;
  std::unique_ptr<EventLog> events_;
  std::unique_ptr<RunSinks> sinks_;
  bool parent_is_gone_ = false;
  bool events_fail_ = false;
};

}  // namespace muster
