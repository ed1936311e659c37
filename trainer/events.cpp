#include "trainer/events.h"

#include <algorithm>

#include "core/text.h"

namespace muster {

EventLog::EventLog(FileSystem& files, const std::filesystem::path& file, std::string run_id, std::uint64_t generation,
                   int rank)
    : run_id_(std::move(run_id)), generation_(generation), rank_(rank) {
  const std::string before = files.exists(file) ? files.read_text(file) : "";
  file_ = files.open_append(file);
  if (!before.empty() && before.back() != '\n') file_->append("\n");
}

void EventLog::write(const std::string& event, std::uint64_t step, const Json& fields) {
  Json line = fields;
  line["v"] = 1;
  line["time"] = iso_time(seconds_since_epoch());
  line["run_id"] = run_id_;
  line["generation"] = generation_;
  line["rank"] = rank_;
  line["step"] = step;
  line["event"] = event;
  const std::lock_guard lock(mutex_);
  file_->append(canonical(line) + "\n");
}

void EventLog::sync() {
  const std::lock_guard lock(mutex_);
  file_->sync();
}

namespace {

std::uint64_t number(const Json& event, const char* key) {
  const auto found = event.find(key);
  return found != event.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

/// Drops what the resume at `step` of `generation` undid.
void undo(std::vector<Json>& events, std::uint64_t generation, std::uint64_t step) {
  std::erase_if(events, [&](const Json& event) {
    return number(event, "generation") < generation && number(event, "step") > step;
  });
}

void drop_earlier_evaluation(std::vector<Json>& events, const Json& later) {
  std::erase_if(events, [&](const Json& event) {
    return event.value("event", "") == "evaluated" && number(event, "step") == number(later, "step") &&
           event.value("split", "") == later.value("split", "");
  });
}

}  // namespace

std::vector<Json> read_events(FileSystem& files, const std::filesystem::path& file) {
  std::vector<Json> events;
  for (const std::string& line : split(files.read_text(file), '\n')) {
    const Json event = Json::parse(line, nullptr, false);
    if (event.is_discarded() || !event.is_object()) continue;
    const std::string kind = event.value("event", "");
    if (kind == "resumed") undo(events, number(event, "generation"), number(event, "step"));
    if (kind == "evaluated") drop_earlier_evaluation(events, event);
    events.push_back(event);
  }
  return events;
}

}  // namespace muster
