#pragma once
// Why a training should stop now, as far as this rank knows; the step's verdict makes it everybody's.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "core/file_system.h"
#include "core/log.h"
#include "trainer/runlog/stop_requests.h"

namespace muster {

/// In order of weight: of several the greatest is the one that is told.
enum class StopReason : std::uint8_t { kNone, kWallTime, kStopFile, kSignal };
std::string to_text(StopReason reason);  ///< "signal", …; "" for none

/// One thread. By a clock that nobody can set: a system clock that jumps stops no run, and keeps none going.
class StopWatch {
 public:
  using Clock = std::chrono::steady_clock;
  static_assert(Clock::is_steady);

  /// `end`: when the job must be over. `run`: the run directory, in which a file STOP asks for a stop.
  StopWatch(const StopRequests* requests, std::optional<Clock::time_point> end, std::filesystem::path run,
            FileSystem& files);

  /// Of all reasons. Rank 0 asks in each step; another rank where it waits alone, for its data say, and does
  /// not hear what others see. `needed`: seconds that a step and a checkpoint take from here. The file is
  /// looked for once a second.
  StopReason now(double needed, Clock::time_point time = Clock::now());
  /// Of this rank's signals alone.
  StopReason told() const;
  /// After the stop: the file has done its work. A failure is only logged: the next start will stop at once.
  void answered(const LogSink& log);

 private:
  bool stop_file(Clock::time_point time);
  const StopRequests* requests_;
  std::optional<Clock::time_point> end_;
  std::filesystem::path file_;
  FileSystem* files_;
  std::optional<Clock::time_point> looked_;
  bool found_ = false;
};

/// The end of the job: `wall_seconds` (0: no limit) from `start`, or the scheduler's (SLURM_JOB_END_TIME,
/// Unix seconds, as given; "" for none), whichever is first. `start` was when the system's clock said
/// `start_time`, Unix seconds.
std::optional<StopWatch::Clock::time_point> end_of_job(StopWatch::Clock::time_point start, double start_time,
                                                       double wall_seconds, const std::string& scheduler_end);

}  // namespace muster
