#include "core/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace muster {
namespace {

/// Whether the name still leads to the open file: the one before may just have removed it.
bool is_at(int descriptor, const std::filesystem::path& path) {
  struct stat mine {};
  struct stat there {};
  return ::fstat(descriptor, &mine) == 0 && ::stat(path.c_str(), &there) == 0 &&
         mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

}  // namespace

FileLock::FileLock(std::filesystem::path path, const std::string& refusal) : path_(std::move(path)) {
  while (true) {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor_ < 0)
      throw Error(ErrorCode::kStorage, fmt::format("cannot make a lock ({})", std::strerror(errno)),
                  path_.string());
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      const int cause = errno;
      ::close(descriptor_);
      if (cause == EWOULDBLOCK) throw Error(ErrorCode::kUsage, refusal, path_.parent_path().string());
      throw Error(ErrorCode::kStorage, fmt::format("cannot be locked ({})", std::strerror(cause)),
                  path_.string());
    }
    if (is_at(descriptor_, path_)) return;
    ::close(descriptor_);
  }
}

FileLock::~FileLock() {
  ::unlink(path_.c_str());  // while it is locked: whoever waits for the name makes a new file
  ::close(descriptor_);
}

}  // namespace muster
