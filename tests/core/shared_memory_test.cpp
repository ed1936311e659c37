#include "core/shared_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>

namespace muster {
namespace {

/// What `body` returns in another process, which ends without a word.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string refusal(const std::string& handle) {
  const auto opened = SharedMemory::open(handle);
  return opened.ok() ? "it was opened" : opened.error().message();
}

TEST(SharedMemoryTest, OtherProcessesSeeWhatIsWritten) {
  const auto memory = SharedMemory::create(100'000);
  ASSERT_EQ(memory->bytes().size(), 100'000U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory->bytes().data()) % 64, 0U);
  EXPECT_TRUE(std::ranges::all_of(memory->bytes(), [](std::byte byte) { return byte == std::byte{0}; }));
  memory->bytes()[7] = std::byte{9};
  const std::string handle = memory->handle();
  const int code = in_child([&] {
    const auto opened = SharedMemory::open(handle);
    if (!opened.ok()) return 1;
    const std::span<std::byte> bytes = opened.value()->bytes();
    if (bytes.size() != 100'000 || bytes[7] != std::byte{9}) return 2;
    bytes[99'999] = std::byte{5};
    return 0;
  });
  EXPECT_EQ(code, 0);
  EXPECT_EQ(memory->bytes()[99'999], std::byte{5});
}

TEST(SharedMemoryTest, WhoHasItKeepsItAndNobodyElseGetsIt) {
  auto memory = SharedMemory::create(64);
  const std::string handle = memory->handle();
  const auto opened = SharedMemory::open(handle);
  ASSERT_TRUE(opened.ok());
  memory->withdraw();
  EXPECT_NE(refusal(handle), "it was opened");
  memory->bytes()[0] = std::byte{1};
  memory.reset();
  EXPECT_EQ(opened.value()->bytes()[0], std::byte{1});
}

TEST(SharedMemoryTest, WhatIsOutOfReachIsRefused) {
  const auto memory = SharedMemory::create(64);
  const auto other = SharedMemory::create(64);
  const std::string handle = memory->handle();
  // The process and descriptor of one, the token of the other: as from another container.
  const std::string swapped = other->handle().substr(0, other->handle().find(' ', handle.find(' ') + 1)) +
                              handle.substr(handle.find(' ', handle.find(' ') + 1));
  EXPECT_NE(refusal(swapped).find("is another one"), std::string::npos) << refusal(swapped);
  for (const std::string text : {"", "x", "1 2 3", "1 2 10 4 5"})
    EXPECT_NE(refusal(text).find("names no shared memory"), std::string::npos) << refusal(text);
  EXPECT_NE(refusal("999999999 3 128 1 2").find("shares no memory"), std::string::npos);
  // A descriptor that is something else is not even opened.
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  EXPECT_NE(refusal(fmt::format("{} {} 128 1 2", ::getpid(), null)).find("shares no memory"),
            std::string::npos);
  ::close(null);
  // A process that ended.
  std::string of_dead(200, '\0');
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  in_child([&] {
    const std::string mine = SharedMemory::create(64)->handle();
    return ::write(ends[1], mine.data(), mine.size()) > 0 ? 0 : 1;
  });
  of_dead.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::read(ends[0], of_dead.data(), 200))));
  EXPECT_NE(refusal(of_dead).find("shares no memory"), std::string::npos) << refusal(of_dead);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(SharedMemoryTest, TooMuchIsAnErrorBeforeItIsUsed) {
  const int code = in_child([] {
    const rlimit small{1 << 20, 1 << 20};
    ::setrlimit(RLIMIT_FSIZE, &small);
    try {
      SharedMemory::create(std::size_t{8} << 20);
      return 1;
    } catch (const Error& error) {
      return error.code() == ErrorCode::kStorage ? 0 : 2;
    }
  });
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace muster
