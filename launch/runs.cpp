#include "core/text.h"
#include "launch/invocation.h"
#include "trainer/checkpoint/checkpoint_store.h"
#include "trainer/runlog/events.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

/// A directory that train made: it holds the resolved config and events.
bool is_run(FileSystem& files, const fs::path& directory) {
  return files.exists(directory / "config.yaml") && files.exists(directory / "events.jsonl");
}

/// What a run directory's events say about it.
Json summarize(FileSystem& files, const fs::path& directory) {
  Json run = {{"run", directory.string()},
              {"state", "started"},
              {"step", 0},
              {"total_steps", nullptr},
              {"metric", nullptr}};
  for (const Json& event : read_events(files, directory / "events.jsonl")) {
    const std::string kind = event_text(event, "event");
    if (const std::uint64_t step = event_number(event, "step"); kind != "fault" || step > 0)
      run["step"] = step;
    if (kind == "run_started" || kind == "resumed") {
      run["state"] = "interrupted";  // unless a later event says how it ended
      run["total_steps"] = event.value(Json::json_pointer("/plan/total_steps"), Json(nullptr));
      run["run_id"] = event_text(event, "run_id");
    }
    if (kind == "evaluated") {
      run["metric"] = {{"split", event_text(event, "split")}, {"values", event_object(event, "metrics")}};
      if (Json best = event_object(event, "best"); !best.empty()) run["best"] = std::move(best);
    }
    if (kind == "checkpoint_committed") run["checkpoint"] = event_text(event, "checkpoint");
    if (kind == "stopped") run["state"] = "stopped";
    if (kind == "run_finished") run["state"] = "finished";
    if (kind == "fault") {
      run["state"] = "failed";
      run["failure"] = event_text(event, "message");
    }
  }
  if (run["state"] == "interrupted" && files.exists(directory / "run.lock"))
    run["state"] = "running or killed";
  if (run["state"] != "finished")
    run["resume"] = fmt::format("muster train {}", shell_quoted((directory / "config.yaml").string()));
  return run;
}

/// The last one of the kind that chooses the best checkpoint, and the best one.
std::string metric_text(const Json& metric, const Json& best) {
  std::vector<std::string> names = {"auc", "accuracy", "rmse", "loss"};  // of events that name no best one
  names.insert(names.begin(), event_text(best, "metric"));
  const Json values = event_object(metric, "values");
  for (const std::string& name : names) {
    const Json last = values.value(name, Json());
    if (!last.is_number()) continue;
    std::string text = fmt::format("{} {} {:.4f}", event_text(metric, "split"), name, last.get<double>());
    const Json value = best.value("value", Json());
    if (event_text(best, "metric") == name && value.is_number() && value != last)
      text += fmt::format(", best {:.4f} at step {}", value.get<double>(), event_number(best, "step"));
    return text;
  }
  return "-";
}

std::string describe(const Json& run) {
  const std::string total = run.at("total_steps").is_null() ? "?" : run.at("total_steps").dump();
  std::string text = fmt::format("{:32} {:18} step {}/{}  {}", run.at("run").get<std::string>(),
                                 run.at("state").get<std::string>(), run.at("step").dump(), total,
                                 metric_text(event_object(run, "metric"), event_object(run, "best")));
  if (run.contains("failure")) text += "\n    " + run.at("failure").get<std::string>();
  if (run.contains("resume")) text += "\n    resume: " + run.at("resume").get<std::string>();
  return text;
}

}  // namespace

void add_runs(CLI::App& app, Invocation& invocation) {
  CLI::App* command = add_command(app, invocation, "runs",
                                  "runs with their state, step, metric and resume line", "muster runs");
  auto directory = std::make_shared<std::string>("runs");
  command->add_option("DIR", *directory, "where the run directories are (run.dir)")->capture_default_str();
  command->callback([&invocation, directory] {
    invocation.action = [&invocation, directory] {
      Console console(invocation.json, false);
      const auto files = make_posix_file_system();
      if (!files->exists(*directory))
        throw Error(ErrorCode::kConfig, "there is no such directory (run.dir of the config)", *directory);
      Json runs = Json::array();
      std::vector<std::string> texts;
      for (const std::string& name : files->list(*directory)) {
        const fs::path run = fs::path(*directory) / name;
        if (!is_run(*files, run)) continue;
        runs.push_back(summarize(*files, run));
        texts.push_back(describe(runs.back()));
      }
      if (texts.empty())
        texts.push_back(fmt::format("no runs in {}/ (a run directory is made by muster train)", *directory));
      console.result({{"runs", runs}}, join(texts, "\n"));
      return 0;
    };
  });
}

}  // namespace muster
