#include "trainer/checkpoint_store.h"

#include <algorithm>
#include <utility>

#include "core/text.h"
#include "trainer/checkpoint_lineage.h"
#include "trainer/checkpoint_manifest.h"

namespace muster {
namespace {

constexpr const char* kManifest = "manifest.json";
constexpr const char* kModel = "model-00001-of-00001.safetensors";
constexpr const char* kOptimizer = "optimizer-00001-of-00001.safetensors";
constexpr std::string_view kTensors = ".safetensors";
constexpr const char* kDraft = ".tmp-";
constexpr const char* kTrash = ".trash-";

/// Stamps what passes through to another file.
class StampingFile : public WritableFile {
 public:
  explicit StampingFile(std::unique_ptr<WritableFile> file) : file_(std::move(file)) {}
  void append(std::span<const std::byte> bytes) override {
    file_->append(bytes);
    hasher_.update(bytes);
    size_ += bytes.size();
  }
  using WritableFile::append;
  void sync() override { file_->sync(); }
  FileStamp stamp() { return {size_, hasher_.finish().hex()}; }

 private:
  std::unique_ptr<WritableFile> file_;
  Sha256Hasher hasher_;
  std::uint64_t size_ = 0;
};

/// Writes the files of one checkpoint, each synced, and keeps their stamps.
class CheckpointWriter {
 public:
  CheckpointWriter(FileSystem& files, std::filesystem::path directory)
      : files_(&files), directory_(std::move(directory)) {}

  template <typename Write>
  void file(const std::string& name, Write&& write) {
    StampingFile file(files_->create(directory_ / name));
    write(file);
    file.sync();
    const FileStamp stamp = file.stamp();
    stamps_[name] = {{"size", stamp.size}, {"sha256", stamp.sha256}};
  }
  void text(const std::string& name, std::string_view content) {
    file(name, [&](WritableFile& out) { out.append(content); });
  }
  void tensors(const std::string& name, const std::vector<TensorBlob>& tensors) {
    file(name, [&](WritableFile& out) { write_safetensors(out, tensors, {{"format", "pt"}}); });
  }
  const Json& stamps() const { return stamps_; }

 private:
  FileSystem* files_;
  std::filesystem::path directory_;
  Json stamps_ = Json::object();
};

/// The index that loaders of sharded weights look for.
std::string model_index(const std::vector<TensorBlob>& model) {
  std::uint64_t bytes = 0;
  Json map = Json::object();
  for (const TensorBlob& tensor : model) {
    bytes += tensor.data.size();
    map[tensor.name] = kModel;
  }
  return Json{{"metadata", {{"total_size", bytes}}}, {"weight_map", map}}.dump(2) + "\n";
}

std::vector<std::byte> read_checked(FileSystem& files, const std::filesystem::path& path,
                                    const FileStamp& stamp) {
  std::vector<std::byte> bytes = files.read(path);
  if (bytes.size() != stamp.size) {
    throw Error(ErrorCode::kStorage,
                fmt::format("is damaged: it has {} bytes, its manifest says {}", bytes.size(), stamp.size),
                path.string());
  }
  if (sha256(bytes).hex() != stamp.sha256) {
    throw Error(ErrorCode::kStorage, "is damaged: its content does not fit the SHA-256 in its manifest",
                path.string());
  }
  return bytes;
}

CheckpointInfo read_manifest(FileSystem& files, const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / kManifest;
  const std::string where = path.string();
  CheckpointInfo info;
  info.directory = directory;
  info.manifest = unseal(files.read_text(path), where);
  if (const auto format = member<std::int64_t>(info.manifest, "format", where); format != 1) {
    throw Error(ErrorCode::kStorage, fmt::format("has format {}; this version reads format 1", format),
                where);
  }
  info.generation = member<std::uint64_t>(info.manifest, "generation", where);
  info.step = member<std::uint64_t>(info.manifest, "step", where);
  info.name = CheckpointName{info.generation, info.step}.text();
  info.parent = member<std::string>(info.manifest, "parent", where);
  info.run_id = member<std::string>(info.manifest, "run_id", where);
  return info;
}

/// Checks every file and hands it to `take(name, bytes)`.
template <typename Take>
CheckpointInfo read_all(FileSystem& files, const std::filesystem::path& directory, Take&& take) {
  CheckpointInfo info = read_manifest(files, directory);
  for (const auto& [name, stamp] : listed_files(info.manifest, (directory / kManifest).string())) {
    take(name, read_checked(files, directory / name, stamp));
  }
  return info;
}

std::string as_text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

CheckpointContent read_content(FileSystem& files, const std::filesystem::path& directory) {
  CheckpointContent content;
  const auto take = [&](const std::string& name, const std::vector<std::byte>& bytes) {
    const std::string where = (directory / name).string();
    if (name == "pipeline.json") content.pipeline = parse_json(as_text(bytes), where);
    if (name == "contract.yaml") content.contract_yaml = as_text(bytes);
    if (!name.ends_with(kTensors)) return;
    auto& into = name.starts_with("optimizer-") ? content.optimizer : content.model;
    for (TensorBlob& tensor : parse_safetensors(bytes, where)) into.push_back(std::move(tensor));
  };
  const CheckpointInfo info = read_all(files, directory, take);
  content.step = info.step;
  content.state = member<Json>(info.manifest, "state", (directory / kManifest).string());
  return content;
}

}  // namespace

Result<CheckpointInfo> verify_checkpoint(FileSystem& files, const std::filesystem::path& directory) {
  return attempt([&] { return read_all(files, directory, [](const auto&, const auto&) {}); });
}

Result<CheckpointContent> load_checkpoint(FileSystem& files, const std::filesystem::path& directory) {
  return attempt([&] { return read_content(files, directory); });
}

CheckpointStore::CheckpointStore(FileSystem& files, std::filesystem::path directory, std::string run_id,
                                 LogSink log)
    : files_(&files), directory_(std::move(directory)), run_id_(std::move(run_id)), log_(std::move(log)) {}

std::uint64_t CheckpointStore::generation() const { return generation_; }
const std::filesystem::path& CheckpointStore::directory() const { return directory_; }

CheckpointChoice CheckpointStore::latest_good() {
  CheckpointChoice choice;
  const Lineage lineage = read_lineage(*files_, directory_);
  for (const Error& damage : lineage.damage) choice.rejected.push_back({damage.where(), damage});
  for (const std::string& name : lineage.names) {
    auto info = verify_checkpoint(*files_, directory_ / name);
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

std::string CheckpointStore::commit(const CheckpointContent& content, std::size_t keep,
                                    const std::vector<std::string>& protect) {
  ensure(generation_ > 0, "a checkpoint is committed before a generation was claimed");
  ensure(keep >= 2, "keep is {}: at least 2 checkpoints must stay", keep);
  const std::string name = CheckpointName{generation_, content.step}.text();
  if (superseded()) {
    fail(ErrorCode::kNothingToDo, "checkpoint {} is not written: a newer start has taken over this run",
         name);
  }
  ensure(known_good_.count(name) == 0, "checkpoint {} is committed twice", name);
  if (files_->exists(directory_ / name)) discard(name);  // its commit was reported as failed
  try {
    publish(name, content);
  } catch (const Error&) {
    // What is half written takes room that others may lack; the cause is thrown, this can only try.
    const auto removed = attempt([&] { return files_->remove_all(directory_ / (kDraft + name)), true; });
    if (!removed)
      log_(LogLevel::kWarning, fmt::format("a half-written checkpoint stays: {}", removed.error().what()));
    throw;
  }
  known_good_.insert(name);
  const auto tidied = attempt([&] {
    files_->replace(directory_ / "LATEST", name + "\n");
    prune(keep, protect);
    return true;
  });
  if (!tidied) {
    log_(LogLevel::kWarning,
         fmt::format("checkpoint {} is committed; older ones stay: {}", name, tidied.error().what()));
  }
  point("pruned");
  return name;
}

void CheckpointStore::publish(const std::string& name, const CheckpointContent& content) {
  const std::filesystem::path draft = directory_ / (kDraft + name);
  files_->remove_all(draft);
  files_->make_directories(draft);
  CheckpointWriter writer(*files_, draft);
  writer.tensors(kModel, content.model);
  writer.text("model.safetensors.index.json", model_index(content.model));
  writer.tensors(kOptimizer, content.optimizer);
  writer.text("pipeline.json", canonical(content.pipeline) + "\n");
  writer.text("contract.yaml", content.contract_yaml);
  point("files-written");
  const Json manifest = {{"format", 1},
                         {"generation", generation_},
                         {"step", content.step},
                         {"parent", parent_},
                         {"run_id", run_id_},
                         {"created", iso_time(seconds_since_epoch())},
                         {"state", content.state},
                         {"files", writer.stamps()}};
  writer.text(kManifest, seal(manifest, 2));
  point("manifest-written");
  files_->sync_directory(draft);
  files_->rename(draft, directory_ / name);
  point("renamed");
  files_->sync_directory(directory_);
  point("committed");
}

void CheckpointStore::point(const std::string& name) const {
  if (on_point) on_point(name);
}

bool CheckpointStore::good(const std::string& name) {
  if (known_good_.count(name) != 0) return true;
  const auto info = verify_checkpoint(*files_, directory_ / name);
  if (!info || info.value().name != name) return false;
  known_good_.insert(name);
  return true;
}

/// Keeps the first `keep` good ones of the order in which a start would try them, with the bad ones between.
void CheckpointStore::prune(std::size_t keep, const std::vector<std::string>& protect) {
  const Lineage lineage = read_lineage(*files_, directory_);
  if (lineage.generation > generation_) return;  // a newer start decides now
  std::set<std::string> kept(protect.begin(), protect.end());
  std::size_t good_ones = 0;
  for (const std::string& name : lineage.names) {
    if (good_ones == keep) break;
    kept.insert(name);
    if (good(name)) ++good_ones;
  }
  for (const std::string& entry : files_->list(directory_)) {
    const bool left_over = entry.starts_with(kDraft) || entry.starts_with(kTrash);
    if (left_over) files_->remove_all(directory_ / entry);
    if (CheckpointName::parse(entry) && kept.count(entry) == 0) discard(entry);
  }
}

/// Takes the name away first: a crash in the middle leaves nothing that looks like a damaged checkpoint.
void CheckpointStore::discard(const std::string& name) {
  const std::filesystem::path trash = directory_ / (kTrash + name);
  files_->remove_all(trash);
  files_->rename(directory_ / name, trash);
  files_->sync_directory(directory_);
  known_good_.erase(name);
  files_->remove_all(trash);
}

}  // namespace muster
