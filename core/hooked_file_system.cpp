#include "core/hooked_file_system.h"

#include <utility>

namespace muster {

namespace {

class HookedFile : public WritableFile {
 public:
  HookedFile(std::unique_ptr<WritableFile> inner, std::shared_ptr<HookedFileSystem::Hook> hook,
             std::filesystem::path path)
      : inner_(std::move(inner)), hook_(std::move(hook)), path_(std::move(path)) {}
  void append(std::span<const std::byte> bytes) override {
    (*hook_)(path_, true);
    inner_->append(bytes);
  }
  void sync() override {
    (*hook_)(path_, true);
    inner_->sync();
  }

 private:
  std::unique_ptr<WritableFile> inner_;
  std::shared_ptr<HookedFileSystem::Hook> hook_;
  std::filesystem::path path_;
};

}  // namespace

std::unique_ptr<WritableFile> HookedFileSystem::create(const std::filesystem::path& path) {
  (*hook_)(path, true);
  return std::make_unique<HookedFile>(inner_->create(path), hook_, path);
}

std::unique_ptr<WritableFile> HookedFileSystem::open_append(const std::filesystem::path& path) {
  (*hook_)(path, true);
  return std::make_unique<HookedFile>(inner_->open_append(path), hook_, path);
}

std::vector<std::byte> HookedFileSystem::read(const std::filesystem::path& path) {
  (*hook_)(path, false);
  return inner_->read(path);
}

void HookedFileSystem::read_pieces(const std::filesystem::path& path, bool from_disk,
                                   const std::function<void(std::span<const std::byte>)>& take) {
  (*hook_)(path, false);
  inner_->read_pieces(path, from_disk, take);
}

bool HookedFileSystem::exists(const std::filesystem::path& path) {
  (*hook_)(path, false);
  return inner_->exists(path);
}

std::uint64_t HookedFileSystem::size(const std::filesystem::path& path) {
  (*hook_)(path, false);
  return inner_->size(path);
}

std::vector<std::string> HookedFileSystem::list(const std::filesystem::path& directory) {
  (*hook_)(directory, false);
  return inner_->list(directory);
}

void HookedFileSystem::make_directories(const std::filesystem::path& directory) {
  (*hook_)(directory, true);
  inner_->make_directories(directory);
}

void HookedFileSystem::rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  (*hook_)(from, true);
  inner_->rename(from, to);
}

bool HookedFileSystem::link(const std::filesystem::path& from, const std::filesystem::path& to) {
  (*hook_)(from, true);
  return inner_->link(from, to);
}

void HookedFileSystem::remove_all(const std::filesystem::path& path) {
  (*hook_)(path, true);
  inner_->remove_all(path);
}

std::uint64_t HookedFileSystem::free_bytes(const std::filesystem::path& path) {
  (*hook_)(path, false);
  return inner_->free_bytes(path);
}

void HookedFileSystem::sync_directory(const std::filesystem::path& directory) {
  (*hook_)(directory, true);
  inner_->sync_directory(directory);
}

}  // namespace muster
