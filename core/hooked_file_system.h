#pragma once
// Another file system with something in between: for faults in real trainings.

#include <functional>
#include <memory>
#include <utility>

#include "core/file_system.h"

namespace muster {

/// Thread-safe as the other one, which outlives it, and the hook are.
class HookedFileSystem : public FileSystem {
 public:
  /// Called before each operation with its path, and whether it changes something; it may wait, or throw:
  /// then nothing is done.
  using Hook = std::function<void(const std::filesystem::path& path, bool changes)>;
  HookedFileSystem(FileSystem& inner, Hook hook)
      : inner_(&inner), hook_(std::make_shared<Hook>(std::move(hook))) {}

  std::unique_ptr<WritableFile> create(const std::filesystem::path& path) override;
  std::unique_ptr<WritableFile> open_append(const std::filesystem::path& path) override;
  std::vector<std::byte> read(const std::filesystem::path& path) override;
  void read_pieces(const std::filesystem::path& path, bool from_disk,
                   const std::function<void(std::span<const std::byte>)>& take) override;
  bool exists(const std::filesystem::path& path) override;
  std::uint64_t size(const std::filesystem::path& path) override;
  std::vector<std::string> list(const std::filesystem::path& directory) override;
  void make_directories(const std::filesystem::path& directory) override;
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  bool link(const std::filesystem::path& from, const std::filesystem::path& to) override;
  void remove_all(const std::filesystem::path& path) override;
  std::uint64_t free_bytes(const std::filesystem::path& path) override;
  void sync_directory(const std::filesystem::path& directory) override;

 private:
  FileSystem* inner_;
  std::shared_ptr<Hook> hook_;  ///< shared with the files that are open
};

}  // namespace muster
