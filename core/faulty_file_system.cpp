#include "core/faulty_file_system.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>
#include <utility>

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
    const std::lock_guard lock(files_->mutex_);
    std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const auto fault = files_->begin("append", path_);
    if (fault == FileFault::kTornWrite) {
      node_->data += text.substr(0, text.size() / 2);
      files_->crash();
    }
    if (fault == FileFault::kFlippedBit && !text.empty()) text[text.size() / 2] ^= 4;
    const std::uint64_t room = fault == FileFault::kNoSpace ? text.size() / 2
                               : files_->capacity_
                                   ? *files_->capacity_ - std::min(*files_->capacity_, files_->used())
                                   : text.size();
    node_->data += text.substr(0, room);
    if (room < text.size() || fault == FileFault::kNoSpace)
      refuse("cannot write: No space left on device", path_);
    files_->end(fault);
  }

  void sync() override {
    const std::lock_guard lock(files_->mutex_);
    const auto fault = files_->begin("sync", path_);
    if (fault != FileFault::kLostSync) node_->synced_data = node_->data;
    files_->end(fault);
  }

 private:
  FaultyFileSystem* files_;
  std::shared_ptr<FaultyFileSystem::Node> node_;
  std::filesystem::path path_;
};

FaultyFileSystem::FaultyFileSystem() : root_(std::make_shared<Node>()) { root_->is_directory = true; }
FaultyFileSystem::~FaultyFileSystem() = default;

std::uint64_t FaultyFileSystem::operations() const {
  const std::lock_guard lock(mutex_);
  return sites_.size();
}

std::vector<std::string> FaultyFileSystem::sites() const {
  const std::lock_guard lock(mutex_);
  return sites_;
}

void FaultyFileSystem::set_fault(std::uint64_t operation, FileFault fault) {
  const std::lock_guard lock(mutex_);
  faults_[operation] = fault;
}

void FaultyFileSystem::before(std::uint64_t operation, std::function<void()> then) {
  const std::lock_guard lock(mutex_);
  before_operation_ = operation;
  before_ = std::move(then);
}

void FaultyFileSystem::clear_faults() {
  const std::lock_guard lock(mutex_);
  faults_.clear();
}

void FaultyFileSystem::set_capacity(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  capacity_ = bytes;
}

void FaultyFileSystem::set_read_only(const std::filesystem::path& path) {
  const std::lock_guard lock(mutex_);
  read_only_ = path;
}

void FaultyFileSystem::crash() {
  crashed_ = true;
  throw SimulatedCrash{};  // NOLINT(bugprone-std-exception-baseclass): nobody may handle a crash
}

std::optional<FileFault> FaultyFileSystem::begin(const char* what, const std::filesystem::path& path,
                                                 bool changes) {
  if (crashed_) crash();
  if (before_ && sites_.size() == before_operation_) {
    const auto then = std::exchange(before_, nullptr);
    mutex_.unlock();  // its threads want it, too
    then();
    mutex_.lock();
  }
  const auto found = faults_.find(sites_.size());
  const auto fault = found != faults_.end() ? std::optional(found->second) : std::nullopt;
  const bool appends = std::string_view(what) == "append";
  if (fault == FileFault::kCrashBefore || (fault == FileFault::kTornWrite && !appends)) crash();
  sites_.push_back(std::string(what) + " " + path.string());
  if (fault == FileFault::kIoError) refuse("cannot go on: Input/output error", path);
  if (fault == FileFault::kNoSpace && !appends) refuse("cannot go on: No space left on device", path);
  if (fault == FileFault::kSlow) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (changes && read_only_ && path.string().starts_with(read_only_->string()))
    refuse("cannot write: Permission denied", path);
  return fault;
}

void FaultyFileSystem::end(const std::optional<FileFault>& fault) {
  if (fault == FileFault::kCrashAfter) crash();
}

void FaultyFileSystem::restart(CrashKeeps keeps, std::uint32_t seed) {
  const std::lock_guard lock(mutex_);
  crashed_ = false;
  faults_.clear();
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
  const std::lock_guard lock(mutex_);
  Node& node = *need(path, false);
  node.data.at(byte) = static_cast<char>(node.data.at(byte) ^ (1 << bit));
  node.synced_data = node.data;
}

std::map<std::string, std::string> FaultyFileSystem::contents() const {
  const std::lock_guard lock(mutex_);
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

std::unique_ptr<WritableFile> FaultyFileSystem::open(const char* what, const std::filesystem::path& path,
                                                     bool truncate) {
  const std::lock_guard lock(mutex_);
  const auto fault = begin(what, path);
  NodePtr& entry = parent(path)->entries[path.filename().string()];
  if (!entry) entry = std::make_shared<Node>();
  if (truncate) entry->data.clear();
  auto file = std::make_unique<FaultyFile>(*this, entry, path);
  end(fault);
  return file;
}

std::unique_ptr<WritableFile> FaultyFileSystem::create(const std::filesystem::path& path) {
  return open("create", path, true);
}
std::unique_ptr<WritableFile> FaultyFileSystem::open_append(const std::filesystem::path& path) {
  return open("open_append", path, false);
}

std::vector<std::byte> FaultyFileSystem::read(const std::filesystem::path& path) {
  const std::lock_guard lock(mutex_);
  const auto fault = begin("read", path, false);
  const auto data = std::as_bytes(std::span(need(path, false)->data));
  std::vector<std::byte> bytes(data.begin(), data.end());
  if (fault == FileFault::kFlippedBit && !bytes.empty()) bytes[bytes.size() / 2] ^= std::byte{4};
  end(fault);
  return bytes;
}

void FaultyFileSystem::read_pieces(const std::filesystem::path& path, bool /*from_disk*/,
                                   const std::function<void(std::span<const std::byte>)>& take) {
  const std::vector<std::byte> bytes = read(path);
  const std::size_t half = bytes.size() / 2;
  take(std::span(bytes).first(half));
  take(std::span(bytes).subspan(half));
}

bool FaultyFileSystem::exists(const std::filesystem::path& path) {
  const std::lock_guard lock(mutex_);
  return find(path) != nullptr;
}

std::uint64_t FaultyFileSystem::size(const std::filesystem::path& path) {
  const std::lock_guard lock(mutex_);
  const auto fault = begin("size", path, false);
  const std::uint64_t bytes = need(path, false)->data.size();
  end(fault);
  return bytes;
}

std::vector<std::string> FaultyFileSystem::list(const std::filesystem::path& directory) {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  const NodePtr node = find(directory);
  if (!node) return names;
  for (const auto& [name, child] : node->entries) names.push_back(name);
  return names;
}

void FaultyFileSystem::make_directories(const std::filesystem::path& directory) {
  const std::lock_guard lock(mutex_);
  const auto fault = begin("make_directories", directory);
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
  end(fault);
}

void FaultyFileSystem::rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  const std::lock_guard lock(mutex_);
  const auto fault = begin("rename", to);
  const NodePtr source = parent(from);
  const NodePtr target = parent(to);
  const NodePtr node = find(from);
  if (!node) refuse("cannot rename: No such file or directory", from);
  const NodePtr there = find(to);
  if (there && there->is_directory && !there->entries.empty())
    refuse("cannot rename: Directory not empty", to);
  target->entries[to.filename().string()] = node;
  source->entries.erase(from.filename().string());
  end(fault);
}

bool FaultyFileSystem::link(const std::filesystem::path& from, const std::filesystem::path& to) {
  const std::lock_guard lock(mutex_);
  const auto fault = begin("link", to);
  const NodePtr node = need(from, false);
  const bool linked = parent(to)->entries.emplace(to.filename().string(), node).second;
  end(fault);
  return linked;
}

void FaultyFileSystem::remove_all(const std::filesystem::path& path) {
  const std::lock_guard lock(mutex_);
  remove(path);
}

/// Entry by entry, as a real one does: a crash leaves a half-empty directory.
void FaultyFileSystem::remove(const std::filesystem::path& path) {
  const auto fault = begin("remove_all", path);
  const NodePtr node = find(path);
  if (node) {
    while (!node->entries.empty()) remove(path / node->entries.begin()->first);
    parent(path)->entries.erase(path.filename().string());
  }
  end(fault);
}

std::uint64_t FaultyFileSystem::free_bytes(const std::filesystem::path& /*path*/) {
  const std::lock_guard lock(mutex_);
  return capacity_ ? *capacity_ - std::min(*capacity_, used()) : ~std::uint64_t{0};
}

void FaultyFileSystem::sync_directory(const std::filesystem::path& directory) {
  const std::lock_guard lock(mutex_);
  const auto fault = begin("sync_directory", directory);
  const NodePtr node = need(directory, true);
  if (fault != FileFault::kLostSync) node->synced_entries = node->entries;
  end(fault);
}

}  // namespace muster
