#pragma once
// The checkpoints of a training under way: when one is due, begun, committed, failing.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/file_system.h"
#include "core/log.h"
#include "trainer/checkpoint/checkpoint_interval.h"
#include "trainer/checkpoint/checkpoint_round.h"
#include "trainer/checkpoint/checkpoint_snapshot.h"
#include "trainer/comm/communicator.h"
#include "trainer/config/config.h"
#include "trainer/loop/run_record.h"

namespace muster {

/// What is the same for all checkpoints of a start.
struct CheckpointFrame {
  std::filesystem::path directory;  ///< the run's
  std::uint64_t generation = 0;
  bool resumed = false;
  Json pipeline;
  std::string contract_yaml;
};

/// One thread on each rank; all ranks make the same calls.
class TrainingCheckpoints {
 public:
  /// `record` on rank 0 only; all references outlive this.
  TrainingCheckpoints(Communicator& comm, FileSystem& files, const Config& config, RunRecord* record,
                      LogSink log, CheckpointFrame frame, CheckpointSnapshot snapshot);

  /// Collective. Copies the state as it is now and begins to write it; waits first for one that is under way.
  /// `state`, `best` (a checkpoint's name that must stay; or "") and `metrics` count on rank 0.
  void begin(std::uint64_t step, Json state, const std::string& best, Json metrics);
  /// What to send with the step's verdict, and what came back from all ranks. AgreedError where a checkpoint
  /// failed for good, or a newer start has taken this run over.
  std::string news() { return round_.news(); }
  void take(const std::vector<std::string>& news);
  /// Collective. Returns when all that was begun is committed. `patience`: seconds for which failed ones are
  /// tried again; by default checkpoint.give_up_seconds counts.
  void settle(std::optional<double> patience = std::nullopt);

  /// Collective, for a run that ends by an AgreedError: what is being written was good, and is committed;
  /// what fails is let go. Throws nothing of its own.
  void finish_under_way();

  /// A step took so long: for the interval by cost.
  void note_step(double seconds);
  /// By this rank's clock: one rank decides for all.
  bool due_by_clock() const;
  bool due_by_step(std::uint64_t step) const;
  /// Whether the last one begun is of this step, committed or not.
  bool begun(std::uint64_t step) const;
  /// Seconds from the copy to the publication, as the last one took.
  double needed_seconds() const { return last_write_seconds_ + stall_seconds_; }
  /// The one that failed and is not yet given up; "" if none.
  std::string failing() const;
  const std::string& last() const { return last_; }  ///< name of the last one committed; "" before

 private:
  using SteadyClock = std::chrono::steady_clock;

  void exchange();
  void committed(const CheckpointOutcome& outcome);
  void failed(const CheckpointOutcome& outcome);
  CheckpointRound::Settings settings(const CheckpointFrame& frame) const;
  CheckpointPart snapshot();

  Communicator& comm_;
  FileSystem& files_;
  const Config& config_;
  RunRecord* record_;
  LogSink log_;
  CheckpointFrame frame_;
  CheckpointSnapshot snapshot_;
  CheckpointRound round_;
  CheckpointCost cost_;
  std::string name_;  ///< of the one begun last
  std::string last_;
  double last_write_seconds_ = 0;
  double stall_seconds_ = 0;
  SteadyClock::time_point last_begun_ = SteadyClock::now();
};

}  // namespace muster
