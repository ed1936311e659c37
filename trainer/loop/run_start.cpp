#include "trainer/loop/run_start.h"

#include <algorithm>

#include "core/random_id.h"
#include "core/text.h"
#include "data_loader/contract/contract_difference.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

/// A run directory from --resume PATH, and the checkpoint in it if PATH names one.
struct ResumePath {
  fs::path run;
  std::string checkpoint;
};

ResumePath parse_resume_path(FileSystem& files, const std::string& text) {
  fs::path path = text;
  if (!path.has_filename()) path = path.parent_path();
  if (files.exists(path / "checkpoints")) return {path, ""};
  if (files.exists(path / "manifest.json") && path.parent_path().filename() == "checkpoints") {
    return {path.parent_path().parent_path(), path.filename().string()};
  }
  throw Error(ErrorCode::kConfig, "is neither a run directory nor a checkpoint in one", text);
}

std::string describe(const std::vector<ConfigChange>& changes) {
  std::vector<std::string> lines;
  for (const ConfigChange& change : changes) {
    lines.push_back(fmt::format("{} was {}, is {}", change.path, change.before.dump(), change.after.dump()));
  }
  return join(lines, "; ");
}

/// What is other about the data, one by one.
std::vector<std::string> data_differences(const CheckpointContent& checkpoint, const DataIdentity& data) {
  std::vector<std::string> lines;
  if (checkpoint.state.value("fingerprint", "") == data.fingerprint) return lines;
  const Json before = checkpoint.state.value("dataset", Json::object());
  const auto count = [&](const char* name, std::uint64_t now) {
    if (before.contains(name) && before.at(name) != now)
      lines.push_back(fmt::format("the dataset had {} {}, has {}", before.at(name).dump(), name, now));
  };
  count("partitions", data.partitions);
  count("rows", data.rows);
  const auto contracts = attempt([&] {
    return compare(Contract::parse(YamlNode::parse(checkpoint.contract_yaml, "the checkpoint's contract")),
                   Contract::parse(YamlNode::parse(data.contract_yaml, "the dataset's contract")));
  });
  if (!contracts || contracts.value().same_hash) return lines;
  for (const ContractDifference::Change& change : contracts.value().changes)
    lines.push_back(
        fmt::format("{}: {}", change.field.empty() ? "contract" : "'" + change.field + "'", change.what));
  return lines;
}

void refuse_other_run(const fs::path& directory, const std::vector<ConfigChange>& changes,
                      const std::vector<std::string>& of_data, const StartOptions& options) {
  std::vector<ConfigChange> identity;
  std::vector<ConfigChange> trajectory;
  for (const ConfigChange& change : changes) {
    const bool allowed =
        std::find(options.allow.begin(), options.allow.end(), change.path) != options.allow.end();
    if (change.key_class == KeyClass::kIdentity) identity.push_back(change);
    if (change.key_class == KeyClass::kTrajectory && !allowed) trajectory.push_back(change);
  }
  if (!identity.empty()) {
    throw Error(
        ErrorCode::kConfig,
        fmt::format("holds another run: {}{}; choose another run.name, or --resume never", describe(identity),
                    of_data.empty() ? "" : fmt::format(" ({})", join(of_data, "; "))),
        directory.string());
  }
  if (trajectory.empty()) return;
  std::vector<std::string> flags;
  for (const ConfigChange& change : trajectory) flags.push_back("--allow " + change.path);
  throw Error(ErrorCode::kConfig,
              fmt::format("the run would take another path: {}; if that is meant: {}", describe(trajectory),
                          join(flags, " ")),
              directory.string());
}

void add_identity(std::vector<ConfigChange>& changes, const char* name, const Json& state,
                  const std::string& now) {
  const std::string before = state.value(name, "");
  if (before != now) {
    changes.push_back({name, before.substr(0, 16), now.substr(0, 16), KeyClass::kIdentity});
  }
}

/// The checkpoint that --resume names, or the newest good one; none if the run has not committed any.
CheckpointChoice choose_checkpoint(FileSystem& files, const fs::path& run, const std::string& wanted) {
  const fs::path checkpoints = run / "checkpoints";
  if (!wanted.empty()) {
    CheckpointInfo info = verify_checkpoint(files, checkpoints / wanted).value();
    if (info.name == wanted) return {std::move(info), {}};
    throw Error(ErrorCode::kStorage, "is a copy of checkpoint " + info.name, (checkpoints / wanted).string());
  }
  CheckpointChoice choice = CheckpointStore(files, checkpoints, "").latest_good();
  if (choice.checkpoint || choice.rejected.empty()) return choice;
  throw Error(ErrorCode::kStorage,
              fmt::format("no checkpoint is good; the newest: {} (a new run: --resume never)",
                          choice.rejected.front().reason.what()),
              run.string());
}

/// A finished run goes on only where an allowed change gives it more to do; none goes back.
void refuse_nothing_to_do(const RunStart& start, const Config& config) {
  const CheckpointContent& checkpoint = *start.checkpoint;
  const std::string where = start.directory.string();
  const Json& steps = config.at("train", "steps");
  const auto plan = member<Json>(checkpoint.state, "plan", where);
  const std::uint64_t target = steps.is_null() ? config.unsigned_at("train", "epochs") *
                                                     member<std::uint64_t>(plan, "steps_per_epoch", where)
                                               : steps.get<std::uint64_t>();
  if (!member<bool>(checkpoint.state, "finished", where)) {
    if (target >= checkpoint.step) return;
    throw Error(ErrorCode::kConfig,
                fmt::format("is at step {} already, beyond the {} that are asked for: give train.steps or "
                            "train.epochs more, or --resume never",
                            checkpoint.step, target),
                where);
  }
  if (target > checkpoint.step && !start.changes.empty()) return;
  throw Error(
      ErrorCode::kNothingToDo,
      fmt::format("is finished at step {}: nothing to do (a new run: --resume never)", checkpoint.step),
      where);
}

/// Only trajectory keys can be allowed to change.
void check_allowed(const std::vector<std::string>& allow) {
  std::vector<std::string> known;
  for (const ConfigKey& key : config_keys()) {
    if (key.key_class == KeyClass::kTrajectory) known.push_back(key.path());
  }
  for (const std::string& path : allow) {
    if (std::find(known.begin(), known.end(), path) != known.end()) continue;
    fail(ErrorCode::kConfig, "--allow {}: there is no trajectory key '{}'{} (muster config --explain)", path,
         path, did_you_mean(path, known));
  }
}

}  // namespace

Config at_its_run(FileSystem& files, const fs::path& config_file, const Config& config) {
  const fs::path run = fs::weakly_canonical(config_file).parent_path();
  if (config_file.filename() != "config.yaml" || !files.exists(run / "checkpoints" / "claims")) return config;
  return config.with("run", "dir", run.parent_path().string()).with("run", "name", run.filename().string());
}

Config inherit_resolved(const Config& config, const Config& earlier) {
  Config result = config;
  for (const ConfigKey& key : config_keys()) {
    if (!config.at(key.section, key.option.name).is_null() || key.path() == "train.epochs" ||
        key.path() == "train.steps") {
      continue;
    }
    result = result.with(key.section, key.option.name, earlier.at(key.section, key.option.name));
  }
  return result;
}

RunStart decide_start(FileSystem& files, const Config& config, const DataIdentity& data,
                      const StartOptions& options) {
  check_allowed(options.allow);
  RunStart start;
  const fs::path base = config.text_at("run", "dir");
  const std::string name = config.text_at("run", "name");
  start.run_id = random_id();
  start.directory = base / name;
  if (options.resume == "never") {
    start.directory = unused_run_directory(files, base, name);
    return start;
  }
  std::string wanted;
  if (options.resume != "auto") {
    const ResumePath path = parse_resume_path(files, options.resume);
    start.directory = path.run;
    wanted = path.checkpoint;
  }
  if (!files.exists(start.directory / "checkpoints")) return start;
  start.chosen_by_name = !wanted.empty();
  CheckpointChoice choice = choose_checkpoint(files, start.directory, wanted);
  start.rejected = std::move(choice.rejected);
  if (!choice.checkpoint) return start;  // an earlier start ended before its first checkpoint

  start.checkpoint = load_checkpoint(files, choice.checkpoint->directory).value();
  start.resumed = true;
  start.parent = choice.checkpoint->name;
  start.run_id = choice.checkpoint->run_id;
  const Json& state = start.checkpoint->state;
  const Config earlier(member<Json>(state, "config", choice.checkpoint->directory.string()), options.models);
  start.changes = config_changes(earlier, config);
  std::erase_if(start.changes,
                [](const ConfigChange& change) { return change.key_class == KeyClass::kFree; });
  add_identity(start.changes, "fingerprint", state, data.fingerprint);
  add_identity(start.changes, "contract", state, data.contract);
  refuse_other_run(start.directory, start.changes, data_differences(*start.checkpoint, data), options);
  refuse_nothing_to_do(start, config);
  return start;
}

}  // namespace muster
