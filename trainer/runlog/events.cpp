#include "trainer/runlog/events.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <span>
#include <utility>

#include "core/text.h"

namespace muster {

namespace {

constexpr std::size_t kMostUnwritten = 100'000;

}  // namespace

EventLog::EventLog(FileSystem& files, const std::filesystem::path& file, std::string run_id,
                   std::uint64_t generation, int rank, std::function<double()> clock)
    : run_id_(std::move(run_id)), generation_(generation), rank_(rank), clock_(std::move(clock)) {
  const std::string before = files.exists(file) ? files.read_text(file) : "";
  file_ = files.open_append(file);
  if (!before.empty() && before.back() != '\n') file_->append("\n");
}

void EventLog::write(const std::string& event, std::uint64_t step, const Json& fields) {
  Json line = fields;
  line["v"] = 1;
  line["time"] = iso_time(clock_());
  line["run_id"] = run_id_;
  line["generation"] = generation_;
  line["rank"] = rank_;
  line["step"] = step;
  line["event"] = event;
  const std::lock_guard lock(mutex_);
  unwritten_.push_back(canonical(line) + "\n");
  if (unwritten_.size() > kMostUnwritten) unwritten_.pop_front();
  while (!unwritten_.empty()) {
    const std::string text = (torn_ ? "\n" : "") + unwritten_.front();
    torn_ = true;
    file_->append(text);
    torn_ = false;
    unwritten_.pop_front();
  }
}

void EventLog::sync() { file_->sync(); }

std::uint64_t event_number(const Json& event, const char* key) {
  const auto found = event.find(key);
  return found != event.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

std::string event_text(const Json& event, const char* key) {
  const auto found = event.find(key);
  return found != event.end() && found->is_string() ? found->get<std::string>() : "";
}

Json event_object(const Json& event, const char* key) {
  const auto found = event.find(key);
  return found != event.end() && found->is_object() ? *found : Json::object();
}

namespace {

std::vector<Json> parse_lines(const std::string& content) {
  std::vector<Json> events;
  for (const std::string& line : split(content, '\n')) {
    Json event = Json::parse(line, nullptr, false);
    if (event.is_object()) events.push_back(std::move(event));
  }
  return events;
}

/// Whether some resume undid this event. The lines of an orphan can lie behind the resume that undid them.
bool undone(const Json& event, std::span<const Json> resumes) {
  return std::any_of(resumes.begin(), resumes.end(), [&](const Json& resume) {
    return event_number(event, "generation") < event_number(resume, "generation") &&
           event_number(event, "step") > event_number(resume, "step");
  });
}

/// A start that went back took back what it had said of later steps.
void undo_rolled_back(std::vector<Json>& events) {
  std::vector<Json> kept;
  for (Json& event : events) {
    if (event_text(event, "event") == "rolled_back") {
      std::erase_if(kept, [&](const Json& earlier) {
        return event_number(earlier, "generation") == event_number(event, "generation") &&
               event_number(earlier, "step") > event_number(event, "step");
      });
    }
    kept.push_back(std::move(event));
  }
  events = std::move(kept);
}

}  // namespace

std::vector<Json> read_events(FileSystem& files, const std::filesystem::path& file) {
  std::vector<Json> all = parse_lines(files.read_text(file));
  std::vector<Json> resumes;
  std::copy_if(all.begin(), all.end(), std::back_inserter(resumes),
               [](const Json& event) { return event_text(event, "event") == "resumed"; });
  std::erase_if(all, [&](const Json& event) { return undone(event, resumes); });
  undo_rolled_back(all);

  std::set<std::pair<std::uint64_t, std::string>> evaluated;
  std::vector<Json> kept;
  for (auto event = all.rbegin(); event != all.rend();
       ++event) {  // from the last: the later evaluation counts
    const bool evaluation = event_text(*event, "event") == "evaluated";
    if (evaluation && !evaluated.emplace(event_number(*event, "step"), event_text(*event, "split")).second)
      continue;
    kept.push_back(std::move(*event));
  }
  std::reverse(kept.begin(), kept.end());
  return kept;
}

}  // namespace muster
