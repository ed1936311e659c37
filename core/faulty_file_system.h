#pragma once
// A file system in memory that fails on demand, runs full, and forgets at a crash what was not synced.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>

#include "core/file_system.h"

namespace muster {

/// The machine died. Not an Error: nothing that handles errors may see it.
struct SimulatedCrash {};

/// What is left of things not synced when the machine dies.
enum class CrashKeeps {
  kSynced,      ///< nothing
  kEverything,  ///< all of it
  kSome,  ///< of each file a random part (torn, or with a hole), of each directory the old or the new entries
};

/// Operations (all but exists and list) are counted from 0. Not thread-safe.
class FaultyFileSystem : public FileSystem {
 public:
  FaultyFileSystem();
  ~FaultyFileSystem() override;

  std::uint64_t operations() const { return operations_; }
  /// The operation with this number fails with Error{kStorage}: "No space left on device".
  void fail_at(std::uint64_t operation) { fail_at_ = operation; }
  /// The operation with this number throws SimulatedCrash (an append may have written half), and all later
  /// ones.
  void crash_at(std::uint64_t operation) { crash_at_ = operation; }
  /// Starts the machine again after a crash, or cuts its power now; faults are cleared.
  void restart(CrashKeeps keeps, std::uint32_t seed);
  /// Appends that would make all files together larger fail after what fits.
  void set_capacity(std::uint64_t bytes) { capacity_ = bytes; }
  /// Every change below this path fails: "Permission denied".
  void set_read_only(const std::filesystem::path& path) { read_only_ = path; }
  void flip_bit(const std::filesystem::path& path, std::uint64_t byte, int bit);
  /// All files, for comparing states.
  std::map<std::string, std::string> contents() const;

  std::unique_ptr<WritableFile> create(const std::filesystem::path& path) override;
  std::unique_ptr<WritableFile> open_append(const std::filesystem::path& path) override;
  std::vector<std::byte> read(const std::filesystem::path& path) override;
  bool exists(const std::filesystem::path& path) override;
  std::uint64_t size(const std::filesystem::path& path) override;
  std::vector<std::string> list(const std::filesystem::path& directory) override;
  void make_directories(const std::filesystem::path& directory) override;
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  bool link(const std::filesystem::path& from, const std::filesystem::path& to) override;
  void remove_all(const std::filesystem::path& path) override;
  void sync_directory(const std::filesystem::path& directory) override;

 private:
  friend class FaultyFile;
  struct Node;
  using NodePtr = std::shared_ptr<Node>;

  void step(const std::filesystem::path& path, bool changes = true);
  bool crashes_now() const { return crash_at_ && operations_ == *crash_at_; }
  NodePtr find(const std::filesystem::path& path) const;
  NodePtr need(const std::filesystem::path& path, bool directory) const;
  NodePtr parent(const std::filesystem::path& path) const;
  std::unique_ptr<WritableFile> open(const std::filesystem::path& path, bool truncate);
  std::uint64_t used() const;

  NodePtr root_;
  std::uint64_t operations_ = 0;
  std::optional<std::uint64_t> fail_at_;
  std::optional<std::uint64_t> crash_at_;
  bool crashed_ = false;
  std::optional<std::uint64_t> capacity_;
  std::optional<std::filesystem::path> read_only_;
};

}  // namespace muster
