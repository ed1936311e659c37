// The machine's own files where system calls are interrupted, do half, or fail: this program's write and
// fsync stand before the C library's.
#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>

#include "core/file_system.h"

namespace {

enum class Mode { kPlain, kRandom, kFull, kBroken };
std::atomic<Mode> mode = Mode::kPlain;
std::atomic<int> interrupted = 0;
std::atomic<int> short_writes = 0;
std::mt19937 dice(5);  // NOLINT(cert-msc51-cpp): a fixed seed

template <typename Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" ssize_t write(int descriptor, const void* bytes, size_t count) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t)>("write");
  if (descriptor > 2 && mode == Mode::kFull) return errno = ENOSPC, -1;
  if (descriptor > 2 && mode == Mode::kRandom && dice() % 3 == 0) return ++interrupted, errno = EINTR, -1;
  if (descriptor > 2 && mode == Mode::kRandom && count > 1 && dice() % 2 == 0)
    return ++short_writes, real(descriptor, bytes, 1 + dice() % (count - 1));
  return real(descriptor, bytes, count);
}

extern "C" int fsync(int descriptor) {
  static const auto real = next<int (*)(int)>("fsync");
  if (mode == Mode::kBroken) return errno = EIO, -1;
  if (mode == Mode::kRandom && dice() % 2 == 0) return ++interrupted, errno = EINTR, -1;
  return real(descriptor);
}

namespace muster {
namespace {

class PosixFaults : public ::testing::Test {
 protected:
  PosixFaults() : file_(std::filesystem::path(::testing::TempDir()) / "muster-posix-faults") {}
  void TearDown() override {
    mode = Mode::kPlain;
    std::filesystem::remove(file_);
  }
  std::string failure(Mode faults) {
    mode = faults;
    const auto replaced = attempt([&] { return files_->replace(file_, "new"), true; });
    mode = Mode::kPlain;
    return replaced ? "" : replaced.error().what();
  }
  std::filesystem::path file_;
  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
};

TEST_F(PosixFaults, InterruptedAndShortWritesLoseNothing) {
  std::string text(100'000, ' ');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
  for (int round = 0; round < 200; ++round) {
    mode = Mode::kRandom;
    files_->replace(file_, text);
    mode = Mode::kPlain;
    ASSERT_EQ(files_->read_text(file_), text);
    std::string pieces;
    files_->read_pieces(file_, true, [&](std::span<const std::byte> piece) {
      pieces.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    });
    ASSERT_EQ(pieces, text);
  }
  std::printf("interrupted: %d times, short: %d times\n", interrupted.load(), short_writes.load());
  EXPECT_GT(interrupted, 50);
  EXPECT_GT(short_writes, 50);
}

TEST_F(PosixFaults, AFullDiskAndABrokenOneAreNamedAndTheOldFileStays) {
  files_->replace(file_, "old");
  EXPECT_NE(failure(Mode::kFull).find("No space left on device"), std::string::npos);
  EXPECT_NE(failure(Mode::kBroken).find("Input/output error"), std::string::npos);
  EXPECT_EQ(files_->read_text(file_), "old");
}

TEST_F(PosixFaults, FreeRoomIsThatOfTheNearestFolderThereIs) {
  const std::uint64_t here = files_->free_bytes(file_.parent_path());
  EXPECT_GT(here, 0U);
  EXPECT_NEAR(static_cast<double>(files_->free_bytes(file_ / "not" / "yet")), static_cast<double>(here), 1e9);
}

}  // namespace
}  // namespace muster
