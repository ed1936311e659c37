#include "trainer/runlog/run_directory.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>

#include "core/host_name.h"
#include "core/json.h"
#include "core/text.h"

namespace muster {

std::filesystem::path unused_run_directory(FileSystem& files, const std::filesystem::path& base,
                                           const std::string& name) {
  std::filesystem::path directory = base / name;
  for (int number = 2; files.exists(directory); ++number)
    directory = base / fmt::format("{}-{}", name, number);
  return directory;
}

namespace {

/// Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat): tells a process from a
/// later one with the same number. "" if there is none.
std::string process_start(long pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t after_name = text.rfind(')');
  if (after_name == std::string::npos || after_name + 2 > text.size()) return "";
  const auto fields = split(std::string_view(text).substr(after_name + 2), ' ');
  if (fields.size() <= 19 || fields[0] == "Z" || fields[0] == "X")
    return "";  // it is dead, but not yet buried
  return fields[19];
}

constexpr int kGoneTries = 50;
constexpr auto kGoneInterval = std::chrono::milliseconds(100);

/// What run.lock says of its holder.
struct Holder {
  std::string host;
  pid_t pid = 0;
  std::string process_start;
};

Holder read_holder(FileSystem& files, const std::filesystem::path& file) {
  const std::string where = file.string();
  const Json lock = parse_json(files.read_text(file), where);
  return {member<std::string>(lock, "host", where), member<pid_t>(lock, "pid", where),
          member<std::string>(lock, "process_start", where)};
}

bool lives(const Holder& holder) {
  if (holder.host != host_name() || holder.pid <= 0 || holder.process_start != process_start(holder.pid))
    return false;
  return ::kill(holder.pid, 0) == 0 || errno == EPERM;
}

}  // namespace

RunLock::RunLock(FileSystem& files, const std::filesystem::path& directory, const LogSink& log)
    : files_(&files), file_(directory / "run.lock") {
  if (files.exists(file_)) {
    const auto holder = attempt([&] { return read_holder(files, file_); });
    // A killed job's processes take a moment to go: that is not worth a refusal.
    for (int tries = 0; holder && lives(holder.value()) && tries < kGoneTries; ++tries)
      std::this_thread::sleep_for(kGoneInterval);
    if (holder && lives(holder.value())) {
      throw Error(
          ErrorCode::kConfig,
          fmt::format(
              "is in use by process {} on this host: wait for it, stop it, or choose another run.name",
              holder.value().pid),
          directory.string());
    }
    log(LogLevel::kInfo,
        holder ? fmt::format("{}: the lock of process {} on {} is taken over: it is not known to live",
                             directory.string(), holder.value().pid, holder.value().host)
               : fmt::format("{}: the lock is taken over: {}", directory.string(), holder.error().what()));
  }
  const char* job = std::getenv("SLURM_JOB_ID");
  content_ = canonical(Json{{"host", host_name()},
                            {"pid", ::getpid()},
                            {"process_start", process_start(::getpid())},
                            {"job_id", job != nullptr ? job : ""}});
  files.replace(file_, content_);
}

RunLock::~RunLock() {
  try {
    if (files_->exists(file_) && files_->read_text(file_) == content_) files_->remove_all(file_);
  } catch (const std::exception&) {
    // The lock stays; its holder is known to be dead from now on, so the next start takes it over.
    content_.clear();
  }
}

}  // namespace muster
