// The machine's own files: what commits and claims need of them, and errors that name the path and the cause.
#include "core/file_system.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace muster {
namespace {

namespace fs = std::filesystem;

class FileSystemTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "muster-files-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const fs::path& path, std::string_view text) { files_->create(path)->append(text); }

  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
  fs::path root_;
};

TEST_F(FileSystemTest, CreateTruncatesAndAppendGoesOn) {
  write(root_ / "a", "first and long");
  write(root_ / "a", "one");
  files_->open_append(root_ / "a")->append(" two");
  files_->open_append(root_ / "new")->append("x");
  EXPECT_EQ(files_->read_text(root_ / "a"), "one two");
  EXPECT_EQ(files_->read_text(root_ / "new"), "x");
  EXPECT_EQ(files_->size(root_ / "a"), 7U);
}

TEST_F(FileSystemTest, BytesOfAnySizeComeBack) {
  for (const std::size_t size : {0U, 1U, 4096U, 100'001U}) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7);
    const auto file = files_->create(root_ / "b");
    file->append(std::string_view(text).substr(0, size / 2));
    file->append(std::string_view(text).substr(size / 2));
    file->sync();
    EXPECT_EQ(files_->read_text(root_ / "b"), text);
  }
}

TEST_F(FileSystemTest, AFileThatDoesNotTellItsSizeIsReadWhole) {
  EXPECT_EQ(files_->size("/proc/self/status"), 0U);
  EXPECT_NE(files_->read_text("/proc/self/status").find("Pid:"), std::string::npos);
}

TEST_F(FileSystemTest, APipeIsRefusedWithoutWaitingForItsWriter) {
  ASSERT_EQ(::mkfifo((root_ / "pipe").c_str(), 0600), 0);
  const auto read = attempt([&] { return files_->read(root_ / "pipe"); });
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().message(), "is no regular file");
  EXPECT_EQ(read.error().where(), (root_ / "pipe").string());
}

TEST_F(FileSystemTest, ReplaceWritesAllOrNothing) {
  files_->replace(root_ / "r", "old");
  files_->replace(root_ / "r", "new");
  EXPECT_EQ(files_->read_text(root_ / "r"), "new");
  EXPECT_EQ(files_->list(root_), std::vector<std::string>{"r"});

  files_->make_directories(root_ / "directory" / "in use");
  EXPECT_THROW(files_->replace(root_ / "directory", "x"), Error);
  EXPECT_EQ(files_->list(root_), (std::vector<std::string>{"directory", "r"}));  // no temporary stays
}

TEST_F(FileSystemTest, AReaderOfAReplacedFileSeesOldOrNewOnly) {
  const std::string a(50'000, 'a');
  const std::string b(70'000, 'b');
  files_->replace(root_ / "r", a);
  std::atomic<bool> done{false};
  int wrong = 0;
  int reads = 0;
  std::thread reader([&] {
    while (!done || reads == 0) {
      const std::string seen = files_->read_text(root_ / "r");
      wrong += seen != a && seen != b ? 1 : 0;
      ++reads;
    }
  });
  for (int i = 0; i < 50; ++i) files_->replace(root_ / "r", i % 2 == 0 ? b : a);
  done = true;
  reader.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(FileSystemTest, LinkTellsWhenTheNameIsTaken) {
  write(root_ / "from", "x");
  write(root_ / "other", "y");
  EXPECT_TRUE(files_->link(root_ / "from", root_ / "to"));
  EXPECT_FALSE(files_->link(root_ / "other", root_ / "to"));
  EXPECT_EQ(files_->read_text(root_ / "to"), "x");
}

TEST_F(FileSystemTest, OfConcurrentLinksOneWins) {
  constexpr int kThreads = 8;
  for (int i = 0; i < kThreads; ++i) write(root_ / ("from" + std::to_string(i)), std::to_string(i));
  std::atomic<int> won{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back(
        [&, i] { won += files_->link(root_ / ("from" + std::to_string(i)), root_ / "to") ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(won, 1);
}

TEST_F(FileSystemTest, DirectoriesAreMadeListedRenamedRemoved) {
  files_->make_directories(root_ / "x" / "y");
  files_->make_directories(root_ / "x" / "y");
  write(root_ / "x" / "b", "");
  write(root_ / "x" / "a", "");
  EXPECT_EQ(files_->list(root_ / "x"), (std::vector<std::string>{"a", "b", "y"}));
  EXPECT_TRUE(files_->list(root_ / "none").empty());
  files_->rename(root_ / "x", root_ / "z");
  files_->sync_directory(root_);
  EXPECT_FALSE(files_->exists(root_ / "x"));
  EXPECT_TRUE(files_->exists(root_ / "z" / "y"));
  files_->remove_all(root_ / "z");
  files_->remove_all(root_ / "z");
  EXPECT_FALSE(files_->exists(root_ / "z"));
}

TEST_F(FileSystemTest, ErrorsNameThePathAndTheCause) {
  write(root_ / "file", "x");
  const fs::path through = root_ / "file" / "child";
  const std::string none = "No such file or directory";
  const std::string not_directory = "Not a directory";
  const auto expect = [](const fs::path& path, const std::string& cause, const std::function<void()>& body) {
    try {
      body();
      ADD_FAILURE() << "no error for " << path;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kStorage);
      EXPECT_EQ(error.where(), path.string());
      EXPECT_NE(error.message().find(cause), std::string::npos) << error.what();
    }
  };
  expect(root_ / "no", none, [&] { files_->read(root_ / "no"); });
  expect(root_ / "no", none, [&] { files_->size(root_ / "no"); });
  expect(root_ / "no" / "x", none, [&] { files_->create(root_ / "no" / "x"); });
  expect(root_ / "to", none, [&] { files_->rename(root_ / "no", root_ / "to"); });
  expect(root_ / "to", none, [&] { files_->link(root_ / "no", root_ / "to"); });
  expect(root_ / "no", none, [&] { files_->sync_directory(root_ / "no"); });
  expect(through, not_directory, [&] { files_->create(through); });
  expect(through, not_directory, [&] { files_->open_append(through); });
  expect(through, not_directory, [&] { files_->read(through); });
  expect(through, not_directory, [&] { files_->make_directories(through); });
  expect(root_ / "file", not_directory, [&] { files_->list(root_ / "file"); });
  expect(root_, "Is a directory", [&] { files_->read(root_); });
  expect("/dev/full", "No space left", [&] { files_->create("/dev/full")->append("x"); });
  expect(root_ / std::string(300, 'n'), "too long", [&] { files_->exists(root_ / std::string(300, 'n')); });
}

}  // namespace
}  // namespace muster
