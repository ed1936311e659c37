#pragma once
// Another file system as a process sees it that can be killed at any moment: what it did stays, nothing more
// is done.

#include <atomic>
#include <cstdint>
#include <memory>

#include "core/file_system.h"

namespace muster {

/// After its death every operation is Error{kStorage}, "killed". Thread-safe as the other one, which outlives
/// it.
class MortalFileSystem : public FileSystem {
 public:
  explicit MortalFileSystem(FileSystem& inner) : inner_(&inner), life_(std::make_shared<Life>()) {}

  void die() { life_->dead = true; }
  /// Dies before the operation (of those that change something) with this number, from 0.
  void die_at(std::uint64_t operation) { life_->last = operation; }
  bool dead() const { return life_->dead; }
  /// How many that change something there were.
  std::uint64_t operations() const { return life_->operations; }

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
  friend class MortalFile;
  /// Shared with the files that are open.
  struct Life {
    std::atomic<bool> dead{false};
    std::atomic<std::uint64_t> operations{0};
    std::atomic<std::uint64_t> last{~std::uint64_t{0}};
    void look(const std::filesystem::path& path) const;
    void change(const std::filesystem::path& path);
  };

  FileSystem* inner_;
  std::shared_ptr<Life> life_;
};

}  // namespace muster
