#include "core/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <utility>

namespace muster {
namespace {

/// The same in maker and handle: a number of a process means another one in another container.
using Token = std::array<std::uint64_t, 2>;
constexpr std::size_t kHeader = 64;
constexpr const char* kName = "muster";  // shown in /proc, not unique

[[noreturn]] void refuse(const char* what, int cause) {
  fail(ErrorCode::kStorage, "{} ({})", what, std::strerror(cause));
}

Token random_token() {
  Token token{};
  if (::getrandom(token.data(), sizeof token, 0) != static_cast<ssize_t>(sizeof token))
    refuse("no random numbers for shared memory", errno);
  return token;
}

struct Handle {
  pid_t process = 0;
  int descriptor = -1;
  std::size_t mapped = 0;
  Token token{};
};

Handle parse(const std::string& text) {
  std::istringstream stream(text);
  Handle handle;
  stream >> handle.process >> handle.descriptor >> handle.mapped >> handle.token[0] >> handle.token[1];
  if (stream.fail() || handle.mapped <= kHeader)
    fail(ErrorCode::kStorage, "'{}' names no shared memory", text);
  return handle;
}

std::byte* map(int descriptor, std::size_t bytes) {
  void* start = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (start == MAP_FAILED) refuse("shared memory cannot be mapped", errno);
  return static_cast<std::byte*>(start);
}

/// Of the other process's descriptor, or an Error. What is no memory of ours is not opened: opening a device
/// does things.
int open_of_process(const Handle& handle) {
  const std::string path = fmt::format("/proc/{}/fd/{}", handle.process, handle.descriptor);
  std::error_code none;
  const std::string target = std::filesystem::read_symlink(path, none).string();
  if (!target.starts_with(fmt::format("/memfd:{}", kName)))
    fail(ErrorCode::kStorage, "process {} shares no memory with this one ({})", handle.process,
         none ? none.message() : target);
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) refuse("another process's memory cannot be opened", errno);
  return descriptor;
}

}  // namespace

std::unique_ptr<SharedMemory> SharedMemory::create(std::size_t bytes) {
  std::unique_ptr<SharedMemory> memory(new SharedMemory);
  memory->descriptor_ = ::memfd_create(kName, MFD_CLOEXEC);
  if (memory->descriptor_ < 0) refuse("shared memory cannot be made", errno);
  memory->mapped_ = kHeader + bytes;
  rlimit most{};
  if (::getrlimit(RLIMIT_FSIZE, &most) == 0 && memory->mapped_ > most.rlim_cur)
    refuse("there is not enough shared memory", EFBIG);  // asking for it would be a SIGXFSZ
  // A page that is not there when it is written to would be a SIGBUS.
  const int cause = ::posix_fallocate(memory->descriptor_, 0, static_cast<off_t>(memory->mapped_));
  if (cause != 0) refuse("there is not enough shared memory", cause);
  memory->start_ = map(memory->descriptor_, memory->mapped_);
  const Token token = random_token();
  std::memcpy(memory->start_, token.data(), sizeof token);
  return memory;
}

Result<std::unique_ptr<SharedMemory>> SharedMemory::open(const std::string& handle) {
  return attempt([&] {
    const Handle named = parse(handle);
    std::unique_ptr<SharedMemory> memory(new SharedMemory);
    memory->descriptor_ = open_of_process(named);
    struct stat found {};
    if (::fstat(memory->descriptor_, &found) != 0) refuse("another process's memory cannot be read", errno);
    if (static_cast<std::size_t>(found.st_size) != named.mapped)
      fail(ErrorCode::kStorage, "process {} here is another one", named.process);
    memory->start_ = map(memory->descriptor_, named.mapped);
    memory->mapped_ = named.mapped;
    memory->withdraw();
    if (std::memcmp(memory->start_, named.token.data(), sizeof named.token) != 0)
      fail(ErrorCode::kStorage, "process {} here is another one", named.process);
    return memory;
  });
}

SharedMemory::~SharedMemory() {
  if (start_ != nullptr) ::munmap(start_, mapped_);
  withdraw();
}

std::span<std::byte> SharedMemory::bytes() const { return {start_ + kHeader, mapped_ - kHeader}; }

std::string SharedMemory::handle() const {
  ensure(descriptor_ >= 0, "shared memory that was withdrawn, or is another process's");
  Token token{};
  std::memcpy(token.data(), start_, sizeof token);
  return fmt::format("{} {} {} {} {}", ::getpid(), descriptor_, mapped_, token[0], token[1]);
}

void SharedMemory::withdraw() {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

}  // namespace muster
