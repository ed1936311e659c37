#pragma once
// A file read front to back, unpacked on the way if it is gzip.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

struct gzFile_s;  // NOLINT(readability-identifier-naming): zlib's

namespace muster {

/// Movable; one thread. zlib finds out by the first bytes whether the file is gzip.
class GzipFile {
 public:
  /// Error{kStorage} if it cannot be opened.
  explicit GzipFile(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  /// Bytes read so far, unpacked.
  std::uint64_t offset() const { return offset_; }

  /// Fills `out` as far as the file goes; the number of bytes. Error{kData} for damaged or cut off gzip,
  /// Error{kStorage} where the system cannot read.
  std::size_t read(std::span<std::byte> out);

 private:
  [[noreturn]] void refuse();

  std::filesystem::path path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile_s*)> file_;
  std::uint64_t offset_ = 0;
};

}  // namespace muster
