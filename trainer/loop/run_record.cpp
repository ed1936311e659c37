#include "trainer/loop/run_record.h"

#include "core/text.h"

namespace muster {
namespace {

std::filesystem::path made(FileSystem& files, std::filesystem::path directory) {
  files.make_directories(directory);
  return directory;
}

}  // namespace

RunRecord::RunRecord(FileSystem& files, const RunStart& start, const Config& config, const LogSink& log,
                     std::function<double()> clock)
    : files_(&files),
      log_(log),
      directory_(made(files, start.directory)),
      lock_(files, directory_, log),
      store_(files, directory_ / "checkpoints", start.run_id, log) {
  if (!start.chosen_by_name) {
    const CheckpointChoice choice = store_.latest_good();
    if ((choice.checkpoint ? choice.checkpoint->name : "") != start.parent) {
      throw Error(ErrorCode::kConfig, "another start is at work in this run: look for it, or start again",
                  directory_.string());
    }
  }
  store_.claim(start.parent);
  parent_is_gone_ = !start.parent.empty() && !files.exists(directory_ / "checkpoints" / start.parent);
  events_ = std::make_unique<EventLog>(files, directory_ / "events.jsonl", start.run_id, store_.generation(),
                                       0, std::move(clock));
  const std::uint64_t step = start.checkpoint ? start.checkpoint->step : 0;
  sinks_ =
      std::make_unique<RunSinks>(RunSinkStart{files, directory_, config, store_.generation(), step}, log);
  // Syncs the directory, too: with it the files that were made there.
  files.replace(directory_ / "config.yaml", to_yaml(config.values()));
  for (const RejectedCheckpoint& rejected : start.rejected) {
    log(LogLevel::kWarning,
        fmt::format("checkpoint {} is passed over: {}", rejected.name, rejected.reason.what()));
    event("checkpoint_rejected", step, {{"checkpoint", rejected.name}, {"reason", rejected.reason.what()}});
  }
}

void RunRecord::event(const std::string& name, std::uint64_t step, const Json& fields) {
  sinks_->event(name, step, fields);
  const auto written = attempt([&] { return events_->write(name, step, fields), true; });
  if (!written && !events_fail_)
    log_(LogLevel::kWarning,
         fmt::format("events are kept in memory until they can be written: {}", written.error().what()));
  events_fail_ = !written;
}

std::string RunRecord::publish(const std::filesystem::path& draft, const CheckpointHead& head,
                               const FileStamps& stamps, const KeepRule& keep, const Json& metrics) {
  events_->sync();
  sinks_->sync();
  std::string name = store_.publish(draft, head, stamps);
  const auto written = attempt([&] {
    if (!metrics.empty()) files_->replace(directory_ / "metrics.json", metrics.dump(2) + "\n");
    return true;
  });
  if (!written)
    log_(LogLevel::kWarning, fmt::format("checkpoint {} is committed; {}", name, written.error().what()));
  store_.tidy(name, keep);
  return name;
}

}  // namespace muster
