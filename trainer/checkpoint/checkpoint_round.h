#pragma once
// How the ranks write a checkpoint together while they train: each its part, on a thread of its own; what has
// become of it they tell each other with the step's verdict.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/background_job.h"
#include "core/file_system.h"
#include "core/json.h"
#include "trainer/checkpoint/checkpoint_part.h"

namespace muster {

/// What came of a round, the same on all ranks.
struct CheckpointOutcome {
  std::string name;
  std::uint64_t step = 0;
  std::optional<Error> error;  ///< nothing: it is committed
  int rank = 0;                ///< whose error it is
  bool final = false;          ///< of an error: it will not be tried again, the run must end
  double retry_seconds = 0;    ///< of an error that is not final: until the next try, as rank 0 has it
  double write_seconds = 0;    ///< of the last try, on this rank
};

/// Settings of rank 0, who decides for all.
struct RetryRule {
  double first_seconds = 1;  ///< until the first retry; doubled each time
  double longest_seconds = 60;
  /// After the first failure since the last commit: no more tries.
  double give_up_seconds = 3600;
};

/// One round at a time. Used by one thread of each rank; ranks call begin() at the same step, and give take()
/// the same texts. No collectives in here.
class CheckpointRound {
 public:
  /// Makes the files written by all ranks a checkpoint; runs on rank 0, in the background. Error{kStorage}:
  /// will be tried again; other errors are final.
  using Publish = std::function<std::string(const std::filesystem::path& draft, const FileStamps& stamps)>;
  /// Removes a draft that failed; runs on rank 0, in the background.
  using Drop = std::function<void(const std::filesystem::path& draft)>;
  using Clock = std::function<double()>;  ///< seconds, monotonic

  struct Settings {
    FileSystem* files = nullptr;
    std::filesystem::path directory;  ///< RUN/checkpoints
    int rank = 0;
    int world = 1;
    RetryRule retry;
    bool has_checkpoint = false;  ///< there was one before the first round: a failure is no end
    Clock clock;
    Drop drop;
  };
  explicit CheckpointRound(Settings settings);

  /// A round is under way: begin() must wait. False while a failed one waits for its next try.
  bool busy() const { return phase_ == Phase::kWriting || phase_ == Phase::kPublishing; }
  /// A failed round waits for its next try.
  bool failing() const { return phase_ == Phase::kFailed; }

  /// Precondition: not busy(). A failing round is given up for this one. `part` is what this rank writes;
  /// `publish` counts on rank 0.
  void begin(const std::string& name, std::uint64_t step, CheckpointPart part, Publish publish);
  /// What this rank has to tell the others now; "" for nothing. Each text is given once.
  std::string news();
  /// Waits for this rank's job a while, so that it can be told.
  void wait(std::chrono::milliseconds patience) const;
  /// All ranks' news of one exchange, in rank order.
  std::optional<CheckpointOutcome> take(const std::vector<std::string>& news);
  /// From now on failures are final after so many seconds; for the last checkpoint of a run.
  void hurry(double seconds);
  /// The part that was begun last, for its memory. Precondition: neither busy() nor failing().
  CheckpointPart reclaim();

 private:
  enum class Phase { kIdle, kWriting, kPublishing, kFailed };

  void write();
  std::string report_of_part();
  std::string report_of_publication();
  std::string decision_after_failure();
  bool hopeless() const;
  std::optional<CheckpointOutcome> after_parts();
  CheckpointOutcome committed();
  CheckpointOutcome failed(const Json& report, int rank);

  Settings settings_;
  Phase phase_ = Phase::kIdle;
  std::string name_;
  std::uint64_t step_ = 0;
  unsigned attempt_ = 0;
  unsigned tries_ = 0;
  std::shared_ptr<CheckpointPart> part_;
  Publish publish_;
  double began_ = 0;
  std::optional<double> failing_since_;  ///< no checkpoint was committed since the first failure then
  bool has_checkpoint_ = false;
  double give_up_at_ = 0;
  double retry_at_ = 0;
  std::vector<std::optional<Json>> reports_;  ///< of this attempt, by rank
  std::optional<CheckpointOutcome> failure_;  ///< the last one's
  BackgroundJob<FileStamps> writing_;
  BackgroundJob<std::string> publishing_;
  BackgroundJob<bool> dropping_;
};

}  // namespace muster
