#pragma once
// events.jsonl: what happened in a run, one JSON object a line, crash-safe. Format: docs/events.md.

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/file_system.h"
#include "core/json.h"
#include "core/text.h"

namespace muster {

/// Writes events. Thread-safe. Each line is one append; a torn line left by a crash is closed before the next
/// one.
class EventLog {
 public:
  /// `clock` stamps the lines: Unix seconds.
  EventLog(FileSystem& files, const std::filesystem::path& file, std::string run_id, std::uint64_t generation,
           int rank, std::function<double()> clock = seconds_since_epoch);

  /// Appends {v, time, run_id, generation, rank, step, event, …fields}. Error{kStorage} if it cannot be: then
  /// it is kept, with up to 100,000 others, and appended with the next one that can.
  void write(const std::string& event, std::uint64_t step, const Json& fields = Json::object());
  /// Makes what was written so far survive a crash of the machine; others may write meanwhile.
  void sync();

 private:
  std::mutex mutex_;
  std::unique_ptr<WritableFile> file_;
  std::deque<std::string> unwritten_;
  bool torn_ = false;  ///< the last append failed, perhaps in the middle
  std::string run_id_;
  std::uint64_t generation_;
  int rank_;
  std::function<double()> clock_;
};

/// A member of an event; 0, "" or {} where it is missing or of another type.
std::uint64_t event_number(const Json& event, const char* key);
std::string event_text(const Json& event, const char* key);
Json event_object(const Json& event, const char* key);

/// All whole events of a file, in order, without those that a resume undid: events of earlier generations
/// with a step greater than the resumed one, and the earlier of two `evaluated` of one split at one step.
/// Torn lines are skipped.
std::vector<Json> read_events(FileSystem& files, const std::filesystem::path& file);

}  // namespace muster
