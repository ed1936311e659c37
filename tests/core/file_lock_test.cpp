#include "core/file_lock.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>

#include "core/error.h"

namespace muster {
namespace {

class FileLockTest : public ::testing::Test {
 protected:
  FileLockTest() {
    std::string name = (std::filesystem::temp_directory_path() / "muster-test-XXXXXX").string();
    if (::mkdtemp(name.data()) != nullptr) folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(FileLockTest, OneHolderAtATime) {
  std::optional<FileLock> first(std::in_place, folder_ / "lock", "somebody has it");
  try {
    const FileLock second(folder_ / "lock", "somebody has it");
    ADD_FAILURE() << "two have it";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_EQ(error.message(), "somebody has it");
    EXPECT_EQ(error.where(), folder_.string());
  }
  first.reset();
  EXPECT_FALSE(std::filesystem::exists(folder_ / "lock"));
  const FileLock next(folder_ / "lock", "somebody has it");
}

TEST_F(FileLockTest, AKilledHolderIsNoObstacle) {
  const pid_t child = ::fork();
  if (child == 0) {
    const FileLock lock(folder_ / "lock", "");
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "lock")) << "it was left";
  const FileLock lock(folder_ / "lock", "somebody has it");
}

TEST_F(FileLockTest, AFolderThatIsNotThereIsAStorageError) {
  try {
    const FileLock lock(folder_ / "nowhere/lock", "");
    ADD_FAILURE() << "a lock in no folder";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kStorage);
  }
}

}  // namespace
}  // namespace muster
