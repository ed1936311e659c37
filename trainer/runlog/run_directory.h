#pragma once
// RUN = run.dir/run.name: config.yaml, events.jsonl, metrics.json, checkpoints/, run.lock.

#include <filesystem>
#include <memory>
#include <string>

#include "core/file_system.h"
#include "core/log.h"

namespace muster {

/// Holds run.lock {host, pid, start time of the process, job id} and removes it when destroyed.
class RunLock {
 public:
  /// Refuses (Error{kConfig}) while the holder is known to live, for five seconds and more: the same host and
  /// a living process with the same start time. Any other lock is stale and taken over; the generations of
  /// checkpoints fence off an orphan.
  RunLock(FileSystem& files, const std::filesystem::path& directory, const LogSink& log);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  FileSystem* files_;
  std::filesystem::path file_;
  std::string content_;
};

/// `base`/`name`, or the first of name-2, name-3, … that does not exist.
std::filesystem::path unused_run_directory(FileSystem& files, const std::filesystem::path& base,
                                           const std::string& name);

}  // namespace muster
