#include "core/mortal_file_system.h"

#include <utility>

namespace muster {

/// An open file of one.
class MortalFile : public WritableFile {
 public:
  MortalFile(std::unique_ptr<WritableFile> inner, std::shared_ptr<MortalFileSystem::Life> life,
             std::filesystem::path path)
      : inner_(std::move(inner)), life_(std::move(life)), path_(std::move(path)) {}
  void append(std::span<const std::byte> bytes) override {
    life_->change(path_);
    inner_->append(bytes);
  }
  void sync() override {
    life_->change(path_);
    inner_->sync();
  }

 private:
  std::unique_ptr<WritableFile> inner_;
  std::shared_ptr<MortalFileSystem::Life> life_;
  std::filesystem::path path_;
};

void MortalFileSystem::Life::look(const std::filesystem::path& path) const {
  if (dead) throw Error(ErrorCode::kStorage, "killed", path.string());
}

void MortalFileSystem::Life::change(const std::filesystem::path& path) {
  if (operations++ >= last) dead = true;
  look(path);
}

std::unique_ptr<WritableFile> MortalFileSystem::create(const std::filesystem::path& path) {
  life_->change(path);
  return std::make_unique<MortalFile>(inner_->create(path), life_, path);
}

std::unique_ptr<WritableFile> MortalFileSystem::open_append(const std::filesystem::path& path) {
  life_->change(path);
  return std::make_unique<MortalFile>(inner_->open_append(path), life_, path);
}

std::vector<std::byte> MortalFileSystem::read(const std::filesystem::path& path) {
  life_->look(path);
  return inner_->read(path);
}

void MortalFileSystem::read_pieces(const std::filesystem::path& path, bool from_disk,
                                   const std::function<void(std::span<const std::byte>)>& take) {
  life_->look(path);
  inner_->read_pieces(path, from_disk, take);
}

bool MortalFileSystem::exists(const std::filesystem::path& path) {
  life_->look(path);
  return inner_->exists(path);
}

std::uint64_t MortalFileSystem::size(const std::filesystem::path& path) {
  life_->look(path);
  return inner_->size(path);
}

std::vector<std::string> MortalFileSystem::list(const std::filesystem::path& directory) {
  life_->look(directory);
  return inner_->list(directory);
}

void MortalFileSystem::make_directories(const std::filesystem::path& directory) {
  life_->change(directory);
  inner_->make_directories(directory);
}

void MortalFileSystem::rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  life_->change(from);
  inner_->rename(from, to);
}

bool MortalFileSystem::link(const std::filesystem::path& from, const std::filesystem::path& to) {
  life_->change(from);
  return inner_->link(from, to);
}

void MortalFileSystem::remove_all(const std::filesystem::path& path) {
  life_->change(path);
  inner_->remove_all(path);
}

std::uint64_t MortalFileSystem::free_bytes(const std::filesystem::path& path) {
  life_->look(path);
  return inner_->free_bytes(path);
}

void MortalFileSystem::sync_directory(const std::filesystem::path& directory) {
  life_->change(directory);
  inner_->sync_directory(directory);
}

}  // namespace muster
