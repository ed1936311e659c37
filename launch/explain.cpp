#include "core/text.h"
#include "core/yaml.h"
#include "launch/checkpoint_path.h"
#include "launch/invocation.h"
#include "trainer/checkpoint_store.h"

namespace muster {
namespace {

/// The checkpoints this one descends from, nearest first, as far as they still exist.
Json parents_of(FileSystem& files, const CheckpointInfo& info) {
  Json parents = Json::array();
  std::string parent = info.parent;
  while (!parent.empty()) {
    const auto earlier = verify_checkpoint(files, info.directory.parent_path() / parent);
    Json entry = {{"checkpoint", parent}, {"kept", earlier.ok()}};
    if (earlier.ok()) entry["ranks"] = earlier.value().manifest.at("state").at("environment").at("ranks");
    parents.push_back(entry);
    parent = earlier.ok() ? earlier.value().parent : "";
  }
  return parents;
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
          {"metrics", state.at("metrics")},
          {"best", state.at("best")},
          {"environment", state.at("environment")},
          {"config", state.at("config")},
          {"parents", parents_of(files, info)}};
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
      const CheckpointInfo info = verify_checkpoint(*files, resolve_checkpoint(*files, *path)).value();
      const Json json = explain(*files, info);
      console.result(json, to_yaml(json));
      return 0;
    };
  });
}

}  // namespace muster
