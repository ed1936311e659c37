#include "trainer/checkpoint/checkpoint_store.h"

#include <algorithm>
#include <utility>

#include "core/text.h"
#include "trainer/checkpoint/checkpoint_lineage.h"
#include "trainer/checkpoint/checkpoint_manifest.h"
#include "trainer/checkpoint/checkpoint_shards.h"

namespace muster {
namespace {

constexpr const char* kManifest = "manifest.json";
constexpr std::string_view kDraft = ".tmp-";
constexpr std::string_view kTrash = ".trash-";

/// The generation of a draft or of what is being deleted; nothing for other names.
std::optional<std::uint64_t> generation_of_leftover(std::string_view entry) {
  for (const std::string_view prefix : {kDraft, kTrash}) {
    if (!entry.starts_with(prefix)) continue;
    const std::string_view name = entry.substr(prefix.size());
    const auto parsed = CheckpointName::parse(name.substr(0, name.find('.')));
    return parsed ? parsed->generation : 0;
  }
  return std::nullopt;
}

}  // namespace

std::filesystem::path draft_of(const std::filesystem::path& directory, const std::string& name,
                               unsigned attempt) {
  return directory / fmt::format("{}{}.{}", kDraft, name, attempt);
}

CheckpointStore::CheckpointStore(FileSystem& files, std::filesystem::path directory, std::string run_id,
                                 LogSink log)
    : files_(&files), directory_(std::move(directory)), run_id_(std::move(run_id)), log_(std::move(log)) {}

CheckpointChoice CheckpointStore::latest_good() {
  CheckpointChoice choice;
  const Lineage lineage = read_lineage(*files_, directory_);
  for (const Error& damage : lineage.damage) choice.rejected.push_back({damage.where(), damage});
  for (const std::string& name : lineage.names) {
    auto info = verify_checkpoint(*files_, directory_ / name);
    // Steps would be lost with it: what a cable or a cache got wrong is right the second time.
    if (!info) info = verify_checkpoint(*files_, directory_ / name);
    if (info && info.value().name == name) {
      known_good_.insert(name);
      choice.checkpoint = std::move(info).value();
      break;
    }
    known_good_.erase(name);
    choice.rejected.push_back(
        {name, info ? Error(ErrorCode::kStorage, "is a copy of " + info.value().name, name) : info.error()});
  }
  return choice;
}

std::uint64_t CheckpointStore::claim(const std::string& parent) {
  files_->make_directories(directory_ / "claims");
  if (directory_.has_parent_path()) files_->sync_directory(directory_.parent_path());
  files_->sync_directory(directory_);
  std::uint64_t next = read_lineage(*files_, directory_).generation + 1;
  while (!write_claim(*files_, directory_, next, parent, run_id_)) ++next;
  generation_ = next;
  parent_ = parent;
  return generation_;
}

bool CheckpointStore::superseded() { return highest_claim(*files_, directory_) > generation_; }

void CheckpointStore::refuse_if_superseded(const std::string& name) {
  const std::uint64_t highest = highest_claim(*files_, directory_);
  if (highest < generation_)
    throw Error(ErrorCode::kStorage,
                "this start's claim is gone: was the run directory removed, or replaced?",
                directory_.string());
  if (highest == generation_) return;
  fail(ErrorCode::kNothingToDo, "checkpoint {} is not published: a newer start has taken this run over",
       name);
}

std::string CheckpointStore::publish(const std::filesystem::path& draft, const CheckpointHead& head,
                                     const FileStamps& stamps) {
  ensure(generation_ > 0, "a checkpoint is published before a generation was claimed");
  const std::string name = CheckpointName{generation_, head.step}.text();
  ensure(known_good_.count(name) == 0, "checkpoint {} is published twice", name);
  const Json manifest = {{"format", kCheckpointFormat}, {"generation", generation_},
                         {"step", head.step},           {"parent", parent_},
                         {"run_id", run_id_},           {"created", iso_time(seconds_since_epoch())},
                         {"state", head.state},         {"files", to_json(stamps)}};
  const FileStamp stamp =
      write_file(*files_, draft / kManifest, CheckpointFile{kManifest, {}, seal(manifest, 2)});
  check_file(*files_, draft / kManifest, stamp, true);
  files_->sync_directory(draft);
  if (files_->exists(directory_ / name)) discard(name);  // its publication was reported as failed
  refuse_if_superseded(name);
  files_->rename(draft, directory_ / name);
  files_->sync_directory(directory_);
  known_good_.insert(name);
  return name;
}

void CheckpointStore::tidy(const std::string& published, const KeepRule& rule) {
  ensure(rule.newest >= 2, "keep is {}: at least 2 checkpoints must stay", rule.newest);
  const auto tidied = attempt([&] {
    files_->replace(directory_ / "LATEST", published + "\n");
    prune(rule);
    return true;
  });
  if (tidied) return;
  log_(LogLevel::kWarning,
       fmt::format("checkpoint {} is committed; older ones stay: {}", published, tidied.error().what()));
}

void CheckpointStore::drop(const std::filesystem::path& draft) {
  const auto removed = attempt([&] { return files_->remove_all(draft), true; });
  if (!removed)
    log_(LogLevel::kWarning, fmt::format("a half-written checkpoint stays: {}", removed.error().what()));
}

std::string CheckpointStore::commit(const CheckpointContent& content, const KeepRule& rule) {
  ensure(generation_ > 0, "a checkpoint is committed before a generation was claimed");
  ensure(rule.newest >= 2, "keep is {}: at least 2 checkpoints must stay", rule.newest);
  const std::string name = CheckpointName{generation_, content.step}.text();
  ensure(known_good_.count(name) == 0, "checkpoint {} is committed twice", name);
  refuse_if_superseded(name);
  const std::filesystem::path draft = draft_of(directory_, name, 1);
  std::string published;
  try {
    files_->remove_all(draft);
    published = publish(draft, {content.step, content.state}, write_part(*files_, draft, whole(content)));
  } catch (const Error&) {
    drop(draft);  // what is half written takes room that others may lack
    throw;
  }
  tidy(published, rule);
  return published;
}

bool CheckpointStore::good(const std::string& name) {
  if (known_good_.count(name) != 0) return true;
  const auto info = verify_checkpoint(*files_, directory_ / name);
  if (!info || info.value().name != name) return false;
  known_good_.insert(name);
  return true;
}

/// Keeps the first `rule.newest` good ones of the order in which a start would try them, with the bad ones
/// between.
void CheckpointStore::prune(const KeepRule& rule) {
  const Lineage lineage = read_lineage(*files_, directory_);
  if (lineage.generation > generation_) return;  // a newer start decides now
  std::set<std::string> kept(rule.names.begin(), rule.names.end());
  std::size_t good_ones = 0;
  for (const std::string& name : lineage.names) {
    const auto parsed = CheckpointName::parse(name);
    if (rule.every_steps > 0 && parsed && parsed->step % rule.every_steps == 0) kept.insert(name);
    if (good_ones == rule.newest) continue;
    kept.insert(name);
    if (good(name)) ++good_ones;
  }
  for (const std::string& entry : files_->list(directory_)) {
    if (const auto generation = generation_of_leftover(entry); generation && *generation <= generation_)
      files_->remove_all(directory_ / entry);
    // A newer start's are not ours to judge: it may have begun since the lineage was read.
    const auto name = CheckpointName::parse(entry);
    if (name && name->generation <= generation_ && kept.count(entry) == 0) discard(entry);
  }
}

/// Takes the name away first: a crash in the middle leaves nothing that looks like a damaged checkpoint.
void CheckpointStore::discard(const std::string& name) {
  const std::filesystem::path trash = directory_ / (std::string(kTrash) + name);
  files_->remove_all(trash);
  files_->rename(directory_ / name, trash);
  files_->sync_directory(directory_);
  known_good_.erase(name);
  files_->remove_all(trash);
}

}  // namespace muster
