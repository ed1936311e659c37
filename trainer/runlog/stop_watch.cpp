#include "trainer/runlog/stop_watch.h"

#include <algorithm>
#include <charconv>

#include "core/text.h"

namespace muster {
namespace {

constexpr const char* kStopFile = "STOP";
constexpr auto kLookInterval = std::chrono::seconds(1);
/// For what was not measured: the end of an evaluation, a disk slower than the last time, the processes' end.
constexpr double kMarginSeconds = 10;
constexpr double kMarginFactor = 2;

}  // namespace

std::string to_text(StopReason reason) {
  switch (reason) {
    case StopReason::kSignal:
      return "signal";
    case StopReason::kStopFile:
      return "stop file";
    case StopReason::kWallTime:
      return "wall time";
    case StopReason::kNone:
      break;
  }
  return "";
}

StopWatch::StopWatch(const StopRequests* requests, std::optional<Clock::time_point> end,
                     std::filesystem::path run, FileSystem& files)
    : requests_(requests), end_(end), file_(std::move(run)), files_(&files) {
  file_ /= kStopFile;
}

bool StopWatch::stop_file(Clock::time_point time) {
  if (found_ || (looked_ && time - *looked_ < kLookInterval)) return found_;
  looked_ = time;
  const auto exists = attempt([&] { return files_->exists(file_); });
  found_ = exists && exists.value();  // a folder that cannot be read is met, and told, by the next checkpoint
  return found_;
}

StopReason StopWatch::told() const {
  return requests_ != nullptr && requests_->stop.load() ? StopReason::kSignal : StopReason::kNone;
}

StopReason StopWatch::now(double needed, Clock::time_point time) {
  if (told() != StopReason::kNone) return told();
  if (stop_file(time)) return StopReason::kStopFile;
  const std::chrono::duration<double> margin(kMarginSeconds + kMarginFactor * needed);
  if (end_ && time + margin >= *end_) return StopReason::kWallTime;
  return StopReason::kNone;
}

void StopWatch::answered(const LogSink& log) {
  if (!found_) return;
  const auto removed = attempt([&] { return files_->remove_all(file_), true; });
  if (!removed)
    log(LogLevel::kWarning,
        fmt::format("the stop file stays, the next start will stop: {}", removed.error().what()));
}

std::optional<StopWatch::Clock::time_point> end_of_job(StopWatch::Clock::time_point start, double start_time,
                                                       double wall_seconds,
                                                       const std::string& scheduler_end) {
  const auto after = [&](double seconds) {
    return start +
           std::chrono::duration_cast<StopWatch::Clock::duration>(std::chrono::duration<double>(seconds));
  };
  std::optional<StopWatch::Clock::time_point> end;
  if (wall_seconds > 0) end = after(wall_seconds);
  std::int64_t seconds = 0;
  std::from_chars(scheduler_end.data(), scheduler_end.data() + scheduler_end.size(), seconds);
  if (seconds > 0) {
    const auto given = after(static_cast<double>(seconds) - start_time);
    end = end ? std::min(*end, given) : given;
  }
  return end;
}

}  // namespace muster
