#pragma once
// A file system in memory that fails on demand, runs full, and forgets at a crash what was not synced.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

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

/// What can go wrong with one operation.
enum class FileFault {
  kCrashBefore,
  kCrashAfter,
  kTornWrite,   ///< an append has written half when the machine dies; other operations: as kCrashBefore
  kNoSpace,     ///< Error{kStorage}, "No space left on device"; an append has written half
  kIoError,     ///< Error{kStorage}, "Input/output error"; nothing was done
  kFlippedBit,  ///< an append or a read goes through with a bit flipped, unnoticed; others: no fault
  kLostSync,    ///< a sync says that it went well and did nothing; others: no fault
  kSlow,        ///< takes 1 ms longer
};

/// Operations (all but exists, list and free_bytes) are counted from 0. Thread-safe.
class FaultyFileSystem : public FileSystem {
 public:
  FaultyFileSystem();
  ~FaultyFileSystem() override;

  std::uint64_t operations() const;
  /// What was done so far, one text an operation: "append /run/a", "sync_directory /run".
  std::vector<std::string> sites() const;
  /// This fault at the operation with this number. After a crash all later operations throw SimulatedCrash.
  void set_fault(std::uint64_t operation, FileFault fault);
  void fail_at(std::uint64_t operation) { set_fault(operation, FileFault::kNoSpace); }
  void crash_at(std::uint64_t operation) { set_fault(operation, FileFault::kTornWrite); }
  /// Calls `then` before the operation with this number, once: what another process does meanwhile. It may
  /// use this file system.
  void before(std::uint64_t operation, std::function<void()> then);
  void clear_faults();
  /// Starts the machine again after a crash, or cuts its power now; faults are cleared.
  void restart(CrashKeeps keeps, std::uint32_t seed);
  /// Appends that would make all files together larger fail after what fits.
  void set_capacity(std::uint64_t bytes);
  /// Every change below this path fails: "Permission denied".
  void set_read_only(const std::filesystem::path& path);
  void flip_bit(const std::filesystem::path& path, std::uint64_t byte, int bit);
  /// All files, for comparing states.
  std::map<std::string, std::string> contents() const;

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
  friend class FaultyFile;
  struct Node;
  using NodePtr = std::shared_ptr<Node>;

  /// Counts an operation and lets its fault happen; what is left to the caller is returned.
  std::optional<FileFault> begin(const char* what, const std::filesystem::path& path, bool changes = true);
  /// The end of an operation that crashes after it.
  void end(const std::optional<FileFault>& fault);
  [[noreturn]] void crash();
  NodePtr find(const std::filesystem::path& path) const;
  NodePtr need(const std::filesystem::path& path, bool directory) const;
  NodePtr parent(const std::filesystem::path& path) const;
  std::unique_ptr<WritableFile> open(const char* what, const std::filesystem::path& path, bool truncate);
  void remove(const std::filesystem::path& path);
  std::uint64_t used() const;

  mutable std::recursive_mutex mutex_;
  NodePtr root_;
  std::vector<std::string> sites_;
  std::map<std::uint64_t, FileFault> faults_;
  std::uint64_t before_operation_ = 0;
  std::function<void()> before_;
  bool crashed_ = false;
  std::optional<std::uint64_t> capacity_;
  std::optional<std::filesystem::path> read_only_;
};

}  // namespace muster
