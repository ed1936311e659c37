#include "trainer/run_directory.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <random>

#include "core/json.h"
#include "core/text.h"

namespace muster {

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

std::string new_run_id() {
  std::random_device device;
  const auto word = [&] { return static_cast<std::uint32_t>(device()); };
  return fmt::format("{:08x}{:08x}", word(), word());
}

std::filesystem::path unused_run_directory(FileSystem& files, const std::filesystem::path& base, const std::string& name) {
  std::filesystem::path directory = base / name;
  for (int number = 2; files.exists(directory); ++number) directory = base / fmt::format("{}-{}", name, number);
  return directory;
}

namespace {

/// Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat): tells a process from a later one with the
/// same number. "" if there is none.
std::string process_start(FileSystem& files, long pid) {
  const std::filesystem::path stat = fmt::format("/proc/{}/stat", pid);
  if (!files.exists(stat)) return "";
  std::string text;
  const auto file = std::unique_ptr<std::FILE, int (*)(std::FILE*)>(std::fopen(stat.c_str(), "r"), &std::fclose);
  std::array<char, 1024> buffer{};
  if (file != nullptr) text.assign(buffer.data(), std::fread(buffer.data(), 1, buffer.size(), file.get()));
  const std::size_t after_name = text.rfind(')');
  if (after_name == std::string::npos || after_name + 2 > text.size()) return "";
  const auto fields = split(std::string_view(text).substr(after_name + 2), ' ');
  return fields.size() > 19 ? fields[19] : "";
}

bool lives(FileSystem& files, const Json& holder) {
  if (holder.value("host", "") != host_name()) return false;
  const long pid = holder.value("pid", 0L);
  return pid > 0 && holder.value("process_start", "") == process_start(files, pid) && ::kill(static_cast<pid_t>(pid), 0) == 0;
}

}  // namespace

RunLock::RunLock(FileSystem& files, const std::filesystem::path& directory, const LogSink& log)
    : files_(&files), file_(directory / "run.lock") {
  if (files.exists(file_)) {
    const Json holder = Json::parse(files.read_text(file_), nullptr, false);
    if (holder.is_object() && lives(files, holder)) {
      throw Error(ErrorCode::kConfig,
                  fmt::format("is in use by process {} on this host: wait for it, stop it, or choose another run.name",
                              holder.value("pid", 0L)),
                  directory.string());
    }
    log(LogLevel::kInfo, fmt::format("{}: the lock's holder is gone: taking over", directory.string()));
  }
  const char* job = std::getenv("SLURM_JOB_ID");
  content_ = canonical(Json{{"host", host_name()},
                            {"pid", ::getpid()},
                            {"process_start", process_start(files, ::getpid())},
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
