#include "launch/console.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <mutex>

#include "core/text.h"
#include "launch/terminal.h"

namespace muster {
namespace {

std::mutex& output_mutex() {
  static std::mutex mutex;
  return mutex;
}

void print(std::FILE* stream, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fflush(stream);
}

}  // namespace

std::string format_progress(const Progress& p) {
  const auto percent = [](double share) { return std::clamp(share, 0.0, 1.0) * 100; };
  std::string rate;
  if (p.utilization > 0) rate = fmt::format("  {:.0f} % of peak", percent(p.utilization));
  return fmt::format(
      "step {}/{}  epoch {}/{}  loss {:.4f}  {} samples/s{}  data wait {:.0f} %  comm wait {:.0f} %  ETA {}",
      p.step, p.total_steps, p.epoch + 1, p.epochs, p.loss,
      human_count(static_cast<std::uint64_t>(std::max(0.0, p.samples_per_second))), rate,
      percent(p.data_share), percent(p.communication_share), human_seconds(std::max(0.0, p.eta_seconds)));
}

Console::Console(bool json, bool silent)
    : json_(json), silent_(silent), terminal_(is_watched(json ? STDERR_FILENO : STDOUT_FILENO)) {}

Console::~Console() { clear_progress(); }

void Console::clear_progress() {
  if (!progress_shown_) return;
  print(json_ ? stderr : stdout, "\n");
  progress_shown_ = false;
}

void Console::line(std::string_view text) {
  if (silent_) return;
  const std::lock_guard lock(output_mutex());
  clear_progress();
  print(json_ ? stderr : stdout, std::string(text) + "\n");
}

void Console::warning(std::string_view text) {
  if (silent_) return;
  const std::lock_guard lock(output_mutex());
  clear_progress();
  print(stderr, "warning: " + one_line(text) + "\n");
}

void Console::progress(const Progress& progress) {
  if (silent_) return;
  if (!terminal_) {
    line(format_progress(progress));
    return;
  }
  status(format_progress(progress));
}

void Console::status(std::string_view text) {
  if (silent_ || !terminal_) return;
  const std::lock_guard lock(output_mutex());
  print(json_ ? stderr : stdout, "\r" + std::string(text) + "\x1b[K");
  progress_shown_ = true;
}

void Console::result(const Json& json, std::string_view text) {
  if (silent_) return;
  const std::lock_guard lock(output_mutex());
  clear_progress();
  if (json_) {
    print(stdout, canonical(json) + "\n");
  } else if (!text.empty()) {
    print(stdout, std::string(text) + "\n");
  }
}

LogSink Console::sink() {
  return [this](LogLevel level, std::string_view text) {
    if (level == LogLevel::kWarning) {
      warning(text);
    } else {
      line(text);
    }
  };
}

}  // namespace muster
