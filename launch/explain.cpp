#include "core/text.h"
#include "launch/invocation.h"
#include "trainer/checkpoint/checkpoint_lineage.h"
#include "trainer/checkpoint/checkpoint_path.h"
#include "trainer/checkpoint/checkpoint_store.h"
#include "trainer/evaluation/decision.h"
#include "trainer/evaluation/metrics.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

/// The checkpoints this one descends from, nearest first: the claims say which, also of those that are gone.
Json parents_of(FileSystem& files, const CheckpointInfo& info) {
  Json parents = Json::array();
  const fs::path checkpoints = info.directory.parent_path();
  std::string parent = info.parent;
  while (!parent.empty()) {
    const auto earlier = verify_checkpoint(files, checkpoints / parent);
    Json entry = {{"checkpoint", parent}, {"kept", earlier.ok()}};
    if (earlier.ok()) entry["ranks"] = earlier.value().manifest.at("state").at("environment").at("ranks");
    parents.push_back(entry);
    const auto before = attempt([&] { return parent_of_generation(files, checkpoints, parent); });
    if (!before.ok()) {
      parents.back()["before"] = before.error().what();
      break;
    }
    parent = before.value();
  }
  return parents;
}

/// A vocabulary in a line says little beyond its start; --json has all of it.
std::string shortened(const std::string& text) {
  constexpr std::size_t kMost = 100;
  return text.size() <= kMost ? text : text.substr(0, utf8_prefix(text.substr(0, kMost))) + "…";
}

/// What was fitted on the training split, per field.
Json statistics_of(FileSystem& files, const CheckpointInfo& info) {
  const std::string path = (info.directory / "pipeline.json").string();
  Json statistics = Json::object();
  for (const Json& input : member<Json>(parse_json(files.read_text(path), path), "inputs", path)) {
    std::vector<std::string> steps;
    for (const Json& step : member<std::vector<Json>>(input, "transforms", path))
      steps.push_back(member<std::string>(step, "name", path));
    statistics[member<std::string>(input, "field", path)] = {
        {"transform", join(steps, ", ")},
        {"fitted", member<Json>(input, "fitted", path)},
        {"statistics", member<Json>(input, "statistics", path)}};
  }
  return statistics;
}

Json explain(FileSystem& files, const CheckpointInfo& info) {
  const Json& state = info.manifest.at("state");
  return {{"checkpoint", info.name},
          {"run_id", info.run_id},
          {"step", info.step},
          {"cursor", state.at("cursor")},
          {"rows_used_in_epoch", state.at("epoch_rows")},
          {"running_digest", state.at("running_digest")},
          {"finished", state.at("finished")},
          {"data",
           {{"dataset", state.at("config").at("data").at("dataset")},
            {"fingerprint", state.at("fingerprint")},
            {"contract", state.at("contract")},
            {"plan", state.at("plan")}}},
          {"statistics", statistics_of(files, info)},
          {"metrics", state.at("metrics")},
          {"best", state.at("best")},
          {"decision", state.value("decision", Json(nullptr))},
          {"passed_over", state.value("quarantine", Json::array())},
          {"init", state.value("init", Json(nullptr))},
          {"environment", state.at("environment")},
          {"config", state.at("config")},
          {"parents", parents_of(files, info)}};
}

std::string describe(const Json& e) {
  const Json& data = e.at("data");
  const Json& plan = data.at("plan");
  const Json& environment = e.at("environment");
  const auto text = [](const Json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
  };
  const auto start_of = [&](const Json& hash) { return text(hash).substr(0, 16); };
  std::vector<std::string> lines;
  lines.push_back(fmt::format("{}: step {} of {}{}, run {}", text(e.at("checkpoint")), e.at("step").dump(),
                              plan.at("total_steps").dump(), e.at("finished") == true ? ", finished" : "",
                              text(e.at("run_id"))));
  lines.push_back(fmt::format("data        {}: {} rows of split '{}', fingerprint {}, contract {}",
                              text(data.at("dataset")), human_count(plan.at("rows").get<std::uint64_t>()),
                              text(plan.at("split")), start_of(data.at("fingerprint")),
                              start_of(data.at("contract"))));
  lines.push_back(fmt::format(
      "order       seed {}, batches of {} from {} lanes, window {}; epoch {}: {} rows used; "
      "running digest {}",
      plan.at("seed").dump(), plan.at("batch_size").dump(), plan.at("lanes").dump(), plan.at("window").dump(),
      e.at("cursor").at("epoch").dump(), human_count(e.at("rows_used_in_epoch").get<std::uint64_t>()),
      text(e.at("running_digest"))));
  lines.push_back(fmt::format("model       {}; optimizer {}", e.at("config").at("model").dump(),
                              text(e.at("config").at("optimizer").at("name"))));
  if (const Json& init = e.at("init"); !init.is_null()) {
    lines.push_back(fmt::format("began with  {} tensors from {}, SHA-256 {}…; {} random",
                                init.at("taken").dump(), text(init.at("from")), start_of(init.at("sha256")),
                                init.at("random").size()));
  }
  for (const auto& [field, fitted] : e.at("statistics").items()) {
    lines.push_back(fmt::format("{}{}: {} {}",
                                field == e.at("statistics").begin().key() ? "fitted      " : "            ",
                                field, text(fitted.at("transform")), shortened(fitted.at("fitted").dump())));
  }
  for (const auto& [split, metrics] : e.at("metrics").items())
    lines.push_back(fmt::format("metrics     {}: {}", split, metrics_line(metrics)));
  if (!e.at("best").is_null()) {
    lines.push_back(fmt::format("best        {} {} at step {}, {}", text(e.at("best").at("metric")),
                                e.at("best").at("value").dump(), e.at("best").at("step").dump(),
                                text(e.at("best").at("checkpoint"))));
  }
  constexpr std::size_t kShown = 5;
  const Json& passed_over = e.at("passed_over");
  for (std::size_t i = 0; i < passed_over.size() && i < kShown; ++i) {
    const Json& bad = passed_over[i];
    lines.push_back(fmt::format("passed over {} rows: {}", bad.at("rows").dump(), text(bad.at("reason"))));
  }
  if (passed_over.size() > kShown)
    lines.push_back(fmt::format("            and {} more (--json lists all)", passed_over.size() - kShown));
  if (!e.at("decision").is_null())
    lines.push_back("decision    " + describe(Decision::from_json(e.at("decision"), "manifest.json")));
  lines.push_back(fmt::format(
      "made by     {} ranks ({} a host) of {} threads on {} ({}); muster {}, torch {}, {}",
      environment.at("ranks").dump(), environment.value("ranks_per_host", Json()).dump(),
      environment.at("threads").dump(), text(environment.at("device")), text(environment.at("cpu")),
      text(environment.at("code")), text(environment.at("torch")), text(environment.at("mpi"))));
  for (const Json& parent : e.at("parents")) {
    lines.push_back(fmt::format("after       {}{}", text(parent.at("checkpoint")),
                                parent.at("kept") == true ? "" : " (not kept)"));
  }
  lines.emplace_back("all of it, the whole config too: --json");
  return join(lines, "\n");
}

}  // namespace

void add_explain(CLI::App& app, Invocation& invocation) {
  CLI::App* command = add_command(app, invocation, "explain",
                                  "what made these weights: rows, config, data, statistics, parents",
                                  "muster explain runs/card-fraud");
  auto path = std::make_shared<std::string>();
  command->add_option("CKPT", *path, "a checkpoint, or a run directory: its best checkpoint")->required();
  command->callback([&invocation, path] {
    invocation.action = [&invocation, path] {
      Console console(invocation.json, false);
      const auto files = make_posix_file_system();
      const CheckpointInfo info =
          verify_checkpoint(*files, resolve_checkpoint(*files, *path, console.sink())).value();
      const Json json = explain(*files, info);
      console.result(json, describe(json));
      return 0;
    };
  });
}

}  // namespace muster
