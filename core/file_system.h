#pragma once
// Files as commits need them: written whole, synced, renamed. The seam at which tests inject storage faults.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace muster {

/// A file being written from front to back. Closed without `sync` it may be lost by a crash. `sync` may run
/// beside an append of another thread: it then covers what was appended before.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  /// Appends all bytes. Error{kStorage} names the file and the cause (disk full, …).
  virtual void append(std::span<const std::byte> bytes) = 0;
  /// Makes what was appended survive a crash of the machine (fsync).
  virtual void sync() = 0;

  void append(std::string_view text) { append(std::as_bytes(std::span(text.data(), text.size()))); }
};

/// The file operations that checkpoints, claims and logs are built from. Thread-safe. All failures are
/// Error{kStorage} with `where` = the path.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  /// Creates or truncates.
  virtual std::unique_ptr<WritableFile> create(const std::filesystem::path& path) = 0;
  /// Opens for appending, creating if need be.
  virtual std::unique_ptr<WritableFile> open_append(const std::filesystem::path& path) = 0;
  virtual std::vector<std::byte> read(const std::filesystem::path& path) = 0;
  /// Hands a file's content to `take` piece by piece, front to back, in little memory. `from_disk`: what the
  /// system has cached of it is dropped first, as far as it can be asked to.
  virtual void read_pieces(const std::filesystem::path& path, bool from_disk,
                           const std::function<void(std::span<const std::byte>)>& take) = 0;
  virtual bool exists(const std::filesystem::path& path) = 0;
  virtual std::uint64_t size(const std::filesystem::path& path) = 0;
  /// Names in a directory, sorted; empty if there is no such directory.
  virtual std::vector<std::string> list(const std::filesystem::path& directory) = 0;
  virtual void make_directories(const std::filesystem::path& directory) = 0;
  virtual void rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  /// Hard-links `to` to `from`; false, and nothing done, if `to` exists.
  virtual bool link(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  /// Removes a file or a whole directory; absent is fine.
  virtual void remove_all(const std::filesystem::path& path) = 0;
  /// Bytes that this user may still write where `path` lies or would lie. Quotas are not known.
  virtual std::uint64_t free_bytes(const std::filesystem::path& path) = 0;
  /// Makes creations, renames and links inside the directory survive a crash (fsync of the directory).
  virtual void sync_directory(const std::filesystem::path& directory) = 0;

  std::string read_text(const std::filesystem::path& path);
  /// Writes a whole file so that a crash leaves the old content or the new: temporary name, fsync, rename,
  /// fsync of the directory.
  void replace(const std::filesystem::path& path, std::string_view content);
};

/// The machine's own files.
std::unique_ptr<FileSystem> make_posix_file_system();

}  // namespace muster
