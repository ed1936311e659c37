#include "tests/trainer/faulty_file_system.h"

#include <algorithm>
#include <functional>

namespace muster {

/// A file or a directory: as programs see it, and as it is on the disk.
struct FaultyFileSystem::Node {
  bool is_directory = false;
  std::string data;
  std::string synced_data;
  std::map<std::string, NodePtr> entries;
  std::map<std::string, NodePtr> synced_entries;
};

namespace {

[[noreturn]] void refuse(const char* cause, const std::filesystem::path& path) {
  throw Error(ErrorCode::kStorage, cause, path.string());
}

/// Cuts what was not synced at a random place, and one time in two fills its end with zeros.
void tear(std::string& data, const std::string& synced, std::mt19937& random) {
  const std::size_t safe = data.starts_with(synced) ? synced.size() : 0;
  data.resize(safe + random() % (data.size() - safe + 1));
  const std::size_t hole = safe + random() % (data.size() - safe + 1);
  if (random() % 2 == 0) std::fill(data.begin() + static_cast<std::ptrdiff_t>(hole), data.end(), '\0');
}

}  // namespace

class FaultyFile : public WritableFile {
 public:
  FaultyFile(FaultyFileSystem& files, std::shared_ptr<FaultyFileSystem::Node> node,
             std::filesystem::path path)
      : files_(&files), node_(std::move(node)), path_(std::move(path)) {}

  void append(std::span<const std::byte> bytes) override {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!files_->crashed_ && files_->crashes_now()) node_->data += text.substr(0, text.size() / 2);
    files_->step(path_);
    const std::uint64_t room =
        files_->capacity_ ? *files_->capacity_ - std::min(*files_->capacity_, files_->used()) : text.size();
    node_->data += text.substr(0, room);
    if (room < text.size()) refuse("cannot write: No space left on device", path_);
  }

  void sync() override {
    files_->step(path_);
    node_->synced_data = node_->data;
  }

 private:
  FaultyFileSystem* files_;
  std::shared_ptr<FaultyFileSystem::Node> node_;
  std::filesystem::path path_;
};

FaultyFileSystem::FaultyFileSystem() : root_(std::make_shared<Node>()) { root_->is_directory = true; }
FaultyFileSystem::~FaultyFileSystem() = default;

void FaultyFileSystem::step(const std::filesystem::path& path, bool changes) {
  if (crashes_now()) crashed_ = true;
  if (crashed_)
    throw SimulatedCrash{};  // NOLINT(bugprone-std-exception-baseclass): nobody may handle a crash
  const std::uint64_t number = operations_++;
  if (fail_at_ && number == *fail_at_) refuse("cannot go on: No space left on device", path);
  if (changes && read_only_ && path.string().starts_with(read_only_->string())) {
    refuse("cannot write: Permission denied", path);
  }
}

void FaultyFileSystem::restart(CrashKeeps keeps, std::uint32_t seed) {
  crashed_ = false;
  fail_at_.reset();
  crash_at_.reset();
  std::mt19937 random(seed);
  std::set<const Node*> seen;
  const std::function<void(Node&)> settle = [&](Node& node) {
    if (!seen.insert(&node).second) return;
    const bool keep_new =
        keeps == CrashKeeps::kEverything || (keeps == CrashKeeps::kSome && random() % 2 == 0);
    if (!keep_new) node.entries = node.synced_entries;
    if (keeps == CrashKeeps::kSynced) node.data = node.synced_data;
    if (keeps == CrashKeeps::kSome && node.data != node.synced_data)
      tear(node.data, node.synced_data, random);
    node.synced_data = node.data;
    node.synced_entries = node.entries;
    for (const auto& [name, child] : node.entries) settle(*child);
  };
  settle(*root_);
}

void FaultyFileSystem::flip_bit(const std::filesystem::path& path, std::uint64_t byte, int bit) {
  Node& node = *need(path, false);
  node.data.at(byte) = static_cast<char>(node.data.at(byte) ^ (1 << bit));
  node.synced_data = node.data;
}

std::map<std::string, std::string> FaultyFileSystem::contents() const {
  std::map<std::string, std::string> result;
  const std::function<void(const Node&, const std::string&)> walk = [&](const Node& node,
                                                                        const std::string& path) {
    if (!node.is_directory) result[path] = node.data;
    for (const auto& [name, child] : node.entries) walk(*child, path + "/" + name);
  };
  walk(*root_, "");
  return result;
}

std::uint64_t FaultyFileSystem::used() const {
  std::uint64_t bytes = 0;
  for (const auto& [path, data] : contents()) bytes += data.size();
  return bytes;
}

FaultyFileSystem::NodePtr FaultyFileSystem::find(const std::filesystem::path& path) const {
  NodePtr node = root_;
  for (const auto& part : path.relative_path()) {
    if (part.empty()) continue;
    const auto child = node->entries.find(part.string());
    if (child == node->entries.end()) return nullptr;
    node = child->second;
  }
  return node;
}

FaultyFileSystem::NodePtr FaultyFileSystem::need(const std::filesystem::path& path, bool directory) const {
  const NodePtr node = find(path);
  if (!node) refuse("cannot read: No such file or directory", path);
  if (node->is_directory != directory) refuse(directory ? "Not a directory" : "Is a directory", path);
  return node;
}

FaultyFileSystem::NodePtr FaultyFileSystem::parent(const std::filesystem::path& path) const {
  return need(path.parent_path(), true);
}

std::unique_ptr<WritableFile> FaultyFileSystem::open(const std::filesystem::path& path, bool truncate) {
  step(path);
  NodePtr& entry = parent(path)->entries[path.filename().string()];
  if (!entry) entry = std::make_shared<Node>();
  if (truncate) entry->data.clear();
  return std::make_unique<FaultyFile>(*this, entry, path);
}

std::unique_ptr<WritableFile> FaultyFileSystem::create(const std::filesystem::path& path) {
  return open(path, true);
}
std::unique_ptr<WritableFile> FaultyFileSystem::open_append(const std::filesystem::path& path) {
  return open(path, false);
}

std::vector<std::byte> FaultyFileSystem::read(const std::filesystem::path& path) {
  step(path, false);
  const auto bytes = std::as_bytes(std::span(need(path, false)->data));
  return {bytes.begin(), bytes.end()};
}

bool FaultyFileSystem::exists(const std::filesystem::path& path) { return find(path) != nullptr; }

std::uint64_t FaultyFileSystem::size(const std::filesystem::path& path) {
  step(path, false);
  return need(path, false)->data.size();
}

std::vector<std::string> FaultyFileSystem::list(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  const NodePtr node = find(directory);
  if (!node) return names;
  for (const auto& [name, child] : node->entries) names.push_back(name);
  return names;
}

void FaultyFileSystem::make_directories(const std::filesystem::path& directory) {
  step(directory);
  NodePtr node = root_;
  for (const auto& part : directory.relative_path()) {
    NodePtr& entry = node->entries[part.string()];
    if (!entry) {
      entry = std::make_shared<Node>();
      entry->is_directory = true;
    }
    if (!entry->is_directory) refuse("cannot create the directory: Not a directory", directory);
    node = entry;
  }
}

void FaultyFileSystem::rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  step(to);
  const NodePtr source = parent(from);
  const NodePtr target = parent(to);
  const NodePtr node = find(from);
  if (!node) refuse("cannot rename: No such file or directory", from);
  const NodePtr there = find(to);
  if (there && there->is_directory && !there->entries.empty())
    refuse("cannot rename: Directory not empty", to);
  target->entries[to.filename().string()] = node;
  source->entries.erase(from.filename().string());
}

bool FaultyFileSystem::link(const std::filesystem::path& from, const std::filesystem::path& to) {
  step(to);
  const NodePtr node = need(from, false);
  return parent(to)->entries.emplace(to.filename().string(), node).second;
}

/// Entry by entry, as a real one does: a crash leaves a half-empty directory.
void FaultyFileSystem::remove_all(const std::filesystem::path& path) {
  step(path);
  const NodePtr node = find(path);
  if (!node) return;
  while (!node->entries.empty()) remove_all(path / node->entries.begin()->first);
  parent(path)->entries.erase(path.filename().string());
}

void FaultyFileSystem::sync_directory(const std::filesystem::path& directory) {
  step(directory);
  const NodePtr node = need(directory, true);
  node->synced_entries = node->entries;
}

}  // namespace muster
