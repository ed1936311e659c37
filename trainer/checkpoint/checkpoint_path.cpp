#include "trainer/checkpoint/checkpoint_path.h"

#include "trainer/checkpoint/checkpoint_store.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

bool is_checkpoint(FileSystem& files, const fs::path& path) {
  return files.exists(path / "manifest.json") && !files.exists(path / "checkpoints");
}

fs::path run_checkpoints(FileSystem& files, const std::string& text) {
  const fs::path directory = fs::path(text) / "checkpoints";
  if (files.exists(directory)) return directory;
  throw Error(ErrorCode::kStorage, "is neither a checkpoint nor a run directory (see `muster runs`)", text);
}

}  // namespace

fs::path resolve_checkpoint(FileSystem& files, const std::string& text, const LogSink& log) {
  if (is_checkpoint(files, text)) return text;
  const fs::path directory = run_checkpoints(files, text);
  const CheckpointChoice choice = CheckpointStore(files, directory, "").latest_good();
  for (const RejectedCheckpoint& rejected : choice.rejected) {
    log(LogLevel::kWarning,
        fmt::format("checkpoint {} is passed over: {}", rejected.name, rejected.reason.what()));
  }
  if (!choice.checkpoint) throw Error(ErrorCode::kStorage, "has no good checkpoint", text);
  const Json& state = choice.checkpoint->manifest.at("state");
  const std::string best = state.at("best").is_null() ? "" : state.at("best").value("checkpoint", "");
  if (best.empty()) return choice.checkpoint->directory;
  const auto verified = verify_checkpoint(files, directory / best);
  if (verified.ok()) return directory / best;
  log(LogLevel::kWarning, fmt::format("the best checkpoint is not good, the newest good one is taken: {}",
                                      verified.error().what()));
  return choice.checkpoint->directory;
}

std::vector<fs::path> all_checkpoints(FileSystem& files, const std::string& text) {
  if (is_checkpoint(files, text)) return {text};
  const fs::path directory = run_checkpoints(files, text);
  std::vector<fs::path> all;
  for (const std::string& name : files.list(directory)) {
    if (name.starts_with('g') && name.find("-step-") != std::string::npos) all.push_back(directory / name);
  }
  if (all.empty()) throw Error(ErrorCode::kStorage, "has no checkpoint", text);
  return all;
}

}  // namespace muster
