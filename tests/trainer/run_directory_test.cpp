// The lock of a run directory: refused while its holder is known to live, taken over in every other case.
#include "trainer/runlog/run_directory.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <thread>

#include "core/faulty_file_system.h"
#include "core/json.h"
#include "core/text.h"

namespace muster {
namespace {

const std::filesystem::path kRun = "/runs/a";

class RunLockTest : public ::testing::Test {
 protected:
  void SetUp() override { files_.make_directories(kRun); }

  /// A lock file as this process would write it, with changes.
  void write_lock(const Json& changes) {
    {
      const RunLock lock(files_, kRun, silent_log());
      mine_ = Json::parse(files_.read_text(kRun / "run.lock"));
    }
    mine_.update(changes);
    files_.replace(kRun / "run.lock", mine_.dump());
  }
  /// Tries to take the lock; the error, or "" with the line that was logged.
  std::string refusal() {
    line_.clear();
    try {
      const RunLock lock(files_, kRun, [&](LogLevel, std::string_view line) { line_ = line; });
      EXPECT_EQ(Json::parse(files_.read_text(kRun / "run.lock")).at("pid"), ::getpid());
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kConfig);
      EXPECT_EQ(error.where(), kRun.string());
      return error.message();
    }
  }

  FaultyFileSystem files_;
  Json mine_;
  std::string line_;
};

/// The number of a process that has ended.
pid_t dead_process() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  return child;
}

TEST_F(RunLockTest, IsGoneWithItsHolder) {
  EXPECT_EQ(refusal(), "");
  EXPECT_EQ(line_, "");
  EXPECT_FALSE(files_.exists(kRun / "run.lock"));
}

TEST_F(RunLockTest, IsRefusedWhileItsHolderLives) {
  const RunLock lock(files_, kRun, silent_log());
  const std::string holder = files_.read_text(kRun / "run.lock");
  EXPECT_EQ(refusal(), "is in use by process " + std::to_string(::getpid()) +
                           " on this host: wait for it, stop it, or choose another run.name");
  EXPECT_EQ(files_.read_text(kRun / "run.lock"), holder);
}

TEST_F(RunLockTest, OfADeadProcessIsTakenOver) {
  write_lock({{"pid", dead_process()}});
  EXPECT_EQ(refusal(), "");
  EXPECT_NE(line_.find("taken over"), std::string::npos);
  write_lock({{"pid", dead_process()}, {"process_start", ""}});
  EXPECT_EQ(refusal(), "");
}

TEST_F(RunLockTest, OfAKilledProcessThatNobodyHasWaitedForIsTakenOver) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  std::ifstream file("/proc/" + std::to_string(child) + "/stat");
  const std::string stat{std::istreambuf_iterator<char>(file), {}};
  const std::string start = split(stat.substr(stat.rfind(')') + 2), ' ').at(19);
  write_lock({{"pid", child}, {"process_start", start}});
  std::jthread killer([child] {  // while the start is already waiting for it
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    ::kill(child, SIGKILL);
  });
  EXPECT_EQ(refusal(), "");
  EXPECT_NE(line_.find("taken over"), std::string::npos);
  ::waitpid(child, nullptr, 0);
}

TEST_F(RunLockTest, OfAnotherProcessWithTheSameNumberIsTakenOver) {
  write_lock({{"process_start", "1"}});
  EXPECT_EQ(refusal(), "");
  EXPECT_NE(line_.find("taken over"), std::string::npos);
}

TEST_F(RunLockTest, OfAnotherHostIsTakenOverAndSaidSo) {
  write_lock({{"host", "elsewhere"}});
  EXPECT_EQ(refusal(), "");
  EXPECT_NE(line_.find("on elsewhere is taken over"), std::string::npos);
}

TEST_F(RunLockTest, ThatSaysNothingSensibleIsTakenOver) {
  for (const char* text :
       {"", "{", "[]", "{\"host\": 5}", "{\"host\": \"h\", \"pid\": \"x\", \"process_start\": 1}"}) {
    files_.replace(kRun / "run.lock", text);
    EXPECT_EQ(refusal(), "") << text;
    EXPECT_NE(line_.find("taken over"), std::string::npos) << text;
  }
  for (const std::int64_t pid : {std::int64_t{0}, std::int64_t{-1}}) {
    write_lock({{"pid", pid}, {"process_start", ""}});
    EXPECT_EQ(refusal(), "") << pid;
  }
}

TEST_F(RunLockTest, ThatAnotherTookOverIsLeftAlone) {
  {
    const RunLock lock(files_, kRun, silent_log());
    files_.replace(kRun / "run.lock", "another's");
  }
  EXPECT_EQ(files_.read_text(kRun / "run.lock"), "another's");
}

TEST_F(RunLockTest, ThatCannotBeRemovedDoesNotEndTheProgram) {
  {
    const RunLock lock(files_, kRun, silent_log());
    files_.set_read_only(kRun);
  }
  EXPECT_TRUE(files_.exists(kRun / "run.lock"));
}

TEST(RunDirectory, NeverStartsInOneThatExists) {
  FaultyFileSystem files;
  EXPECT_EQ(unused_run_directory(files, "/runs", "a"), "/runs/a");
  files.make_directories("/runs/a");
  EXPECT_EQ(unused_run_directory(files, "/runs", "a"), "/runs/a-2");
  files.make_directories("/runs/a-2");
  files.make_directories("/runs/a-4");
  EXPECT_EQ(unused_run_directory(files, "/runs", "a"), "/runs/a-3");
}

}  // namespace
}  // namespace muster
