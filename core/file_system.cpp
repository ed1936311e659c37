#include "core/file_system.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace muster {
namespace {

[[noreturn]] void fail_errno(const char* action, const std::filesystem::path& path, int cause) {
  throw Error(ErrorCode::kStorage, fmt::format("cannot {}: {}", action, std::strerror(cause)), path.string());
}

/// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags, const char* action)
      : value_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (value_ < 0) fail_errno(action, path, errno);
  }
  ~Descriptor() { ::close(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

constexpr std::size_t kPieceBytes = std::size_t{4} << 20;

/// What the file says of its size. Error{kStorage} for what is neither a file nor a directory.
std::size_t size_of(const Descriptor& file, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_errno("read", path, errno);
  if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
    throw Error(ErrorCode::kStorage, "is no regular file", path.string());
  return static_cast<std::size_t>(status.st_size);
}

/// 0 at the file's end.
std::size_t read_some(const Descriptor& file, const std::filesystem::path& path, std::span<std::byte> into) {
  while (true) {
    const ::ssize_t got = ::read(file.get(), into.data(), into.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) fail_errno("read", path, errno);
  }
}

void sync_descriptor(const Descriptor& file, const std::filesystem::path& path) {
  while (::fsync(file.get()) != 0) {
    if (errno != EINTR) fail_errno("sync", path, errno);
  }
}

class PosixFile : public WritableFile {
 public:
  PosixFile(const std::filesystem::path& path, int flags)
      : path_(path), descriptor_(path, O_WRONLY | O_CREAT | flags, "write") {}

  void append(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const ::ssize_t written =
          ::write(descriptor_.get(), bytes.data(), std::min<std::size_t>(bytes.size(), 1U << 30));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail_errno("write", path_, errno);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  void sync() override { sync_descriptor(descriptor_, path_); }

 private:
  std::filesystem::path path_;
  Descriptor descriptor_;
};

class PosixFileSystem : public FileSystem {
 public:
  std::unique_ptr<WritableFile> create(const std::filesystem::path& path) override {
    return std::make_unique<PosixFile>(path, O_TRUNC);
  }
  std::unique_ptr<WritableFile> open_append(const std::filesystem::path& path) override {
    return std::make_unique<PosixFile>(path, O_APPEND);
  }

  std::vector<std::byte> read(const std::filesystem::path& path) override {
    const Descriptor file(path, O_RDONLY | O_NONBLOCK, "read");  // opening a FIFO would wait for its writer
    // One byte more than it says, so that its end is seen: some files (directories, /proc) do not tell their
    // size.
    std::vector<std::byte> content(size_of(file, path) + 1);
    std::size_t done = 0;
    while (const std::size_t got = read_some(file, path, std::span(content).subspan(done))) {
      done += got;
      if (done == content.size()) content.resize(2 * content.size());
    }
    content.resize(done);
    return content;
  }

  void read_pieces(const std::filesystem::path& path, bool from_disk,
                   const std::function<void(std::span<const std::byte>)>& take) override {
    const Descriptor file(path, O_RDONLY | O_NONBLOCK, "read");
    (void)size_of(file, path);
    if (from_disk) (void)::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
    (void)::posix_fadvise(file.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
    std::vector<std::byte> piece(kPieceBytes);
    while (const std::size_t got = read_some(file, path, piece)) take(std::span(piece).first(got));
  }

  bool exists(const std::filesystem::path& path) override {
    std::error_code error;
    const bool found = std::filesystem::exists(path, error);
    if (error) fail_errno("look for", path, error.value());  // not the same as absent
    return found;
  }

  std::uint64_t size(const std::filesystem::path& path) override {
    std::error_code error;
    const std::uintmax_t bytes = std::filesystem::file_size(path, error);
    if (error) fail_errno("find the size", path, error.value());
    return bytes;
  }

  std::vector<std::string> list(const std::filesystem::path& directory) override {
    std::vector<std::string> names;
    std::error_code error;
    std::filesystem::directory_iterator entries(directory, error);
    if (error == std::errc::no_such_file_or_directory) return names;
    for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
      names.push_back(entries->path().filename().string());
    }
    if (error) fail_errno("list", directory, error.value());
    std::sort(names.begin(), names.end());
    return names;
  }

  void make_directories(const std::filesystem::path& directory) override {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) fail_errno("create the directory", directory, error.value());
  }

  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) fail_errno("rename to", to, errno);
  }

  bool link(const std::filesystem::path& from, const std::filesystem::path& to) override {
    if (::link(from.c_str(), to.c_str()) == 0) return true;
    if (errno == EEXIST) return false;
    fail_errno("link", to, errno);
  }

  void remove_all(const std::filesystem::path& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error) fail_errno("remove", path, error.value());
  }

  std::uint64_t free_bytes(const std::filesystem::path& path) override {
    std::filesystem::path there = std::filesystem::absolute(path);
    while (there.has_relative_path() && !exists(there)) there = there.parent_path();
    struct statvfs status {};
    if (::statvfs(there.c_str(), &status) != 0) fail_errno("find the free space", there, errno);
    return std::uint64_t{status.f_bavail} * status.f_frsize;
  }

  void sync_directory(const std::filesystem::path& directory) override {
    const Descriptor file(directory, O_RDONLY | O_DIRECTORY, "sync");
    sync_descriptor(file, directory);
  }
};

}  // namespace

std::string FileSystem::read_text(const std::filesystem::path& path) {
  const std::vector<std::byte> content = read(path);
  return {reinterpret_cast<const char*>(content.data()), content.size()};
}

void FileSystem::replace(const std::filesystem::path& path, std::string_view content) {
  const std::filesystem::path temporary = path.string() + fmt::format(".{}.tmp", ::getpid());
  try {
    const auto file = create(temporary);
    file->append(content);
    file->sync();
    rename(temporary, path);
  } catch (const Error&) {
    (void)attempt([&] { return remove_all(temporary), true; });  // the first cause is the one to report
    throw;
  }
  sync_directory(path.has_parent_path() ? path.parent_path() : ".");
}

std::unique_ptr<FileSystem> make_posix_file_system() { return std::make_unique<PosixFileSystem>(); }

}  // namespace muster
