#include "core/child_process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace muster {
namespace {

TEST(ChildProcess, LeavesWithItsCodeOrItsSignal) {
  EXPECT_EQ(ChildProcess({"sh", "-c", "exit 75"}).wait(), 75);
  ChildProcess sleeper({"sleep", "100"});
  EXPECT_FALSE(sleeper.wait(std::chrono::milliseconds(20)));
  sleeper.signal(SIGTERM);
  EXPECT_EQ(sleeper.wait(std::chrono::seconds(10)), 128 + SIGTERM);
  EXPECT_EQ(sleeper.wait(), 128 + SIGTERM) << "again";
  sleeper.signal(SIGTERM);  // it is gone: nobody else's process gets it
}

TEST(ChildProcess, ItsLinesCanBeRead) {
  ChildProcess child({"sh", "-c", "echo $GREETING; printf 'no end'"}, {{"GREETING=hello"}, {}, true});
  EXPECT_EQ(child.read_line(), "hello");
  EXPECT_EQ(child.read_line(), "no end");
  EXPECT_FALSE(child.read_line());
}

TEST(ChildProcess, OutputGoesToAFileOfBothStreams) {
  const auto file = std::filesystem::path(::testing::TempDir()) / "muster-child-output";
  std::filesystem::remove(file);
  EXPECT_EQ(ChildProcess({"sh", "-c", "echo out; echo error >&2"}, {{}, file, false}).wait(), 0);
  std::ifstream stream(file);
  EXPECT_EQ((std::string{std::istreambuf_iterator<char>(stream), {}}), "out\nerror\n");
  std::filesystem::remove(file);
}

TEST(ChildProcess, AGroupDiesWithItsChild) {
  const auto file = std::filesystem::path(::testing::TempDir()) / "muster-grandchild";
  std::filesystem::remove(file);
  {
    ChildProcess child({"sh", "-c", "sleep 60 & echo $!; wait"}, {{}, {}, true});
    const std::string grandchild = child.read_line().value_or("");
    std::ofstream(file) << grandchild;
    EXPECT_TRUE(std::filesystem::exists("/proc/" + grandchild));
  }
  std::string grandchild;
  std::ifstream(file) >> grandchild;
  const auto gone = [&] {  // dead, or waiting to be reaped by its new parent
    std::ifstream stat("/proc/" + grandchild + "/stat");
    const std::string text{std::istreambuf_iterator<char>(stat), {}};
    return text.empty() || text.find(") Z") != std::string::npos;
  };
  for (int tries = 0; tries < 100 && !gone(); ++tries) ::usleep(10'000);
  EXPECT_TRUE(gone());
  std::filesystem::remove(file);
}

TEST(ChildProcess, AProgramThatIsNotThereIsOneLine) {
  try {
    ChildProcess child({"/no/such/program"});
    EXPECT_EQ(child.wait(), 127) << "where posix_spawn tells it by the code";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    EXPECT_STREQ(error.what(), "/no/such/program: cannot be started: No such file or directory");
  }
}

}  // namespace
}  // namespace muster
