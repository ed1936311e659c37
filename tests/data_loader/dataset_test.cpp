#include "data_loader/dataset/dataset.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "core/file_system.h"
#include "data_loader/dataset/validate.h"
#include "data_loader/manifest/index_sidecar.h"
#include "dataset_fixture.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

class OpenTest : public ::testing::Test, public DatasetFixture {
 protected:
  void SetUp() override {
    write_contract(kByTime);
    write_partition("a.h5", make_columns(20, 0), 20);
    write_partition("b.h5", make_columns(50, 20), 50);
    validate(options());
  }
  void fails(ErrorCode code, const std::string& part, const fs::path& root = {}) {
    try {
      static_cast<void>(Dataset::open(directory(), root));
      ADD_FAILURE() << "opened: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("muster"), std::string::npos) << "no fix: " << error.what();
    }
  }
};

TEST_F(OpenTest, RefusesWhatIsNotThere) {
  EXPECT_NO_THROW(Dataset::open(directory()));
  fs::remove(directory() / "rows.bin");
  fails(ErrorCode::kConfig, "has no rows.bin");
  fs::remove(directory() / "manifest.json");
  fails(ErrorCode::kConfig, "was never validated: run `muster validate " + directory().string() + "`");
  fs::remove(directory() / "contract.yaml");
  fails(ErrorCode::kConfig, "has no contract.yaml");
}

TEST_F(OpenTest, RefusesAChangedContractButNotAComment) {
  write("contract.yaml", "# a comment\n" + read_text("contract.yaml"));
  EXPECT_NO_THROW(Dataset::open(directory()));
  write_contract(kByFraction);
  fails(ErrorCode::kData, "contract.yaml changed");
}

TEST_F(OpenTest, RefusesFilesOfAnotherValidation) {
  const auto mixed = [&](const char* name) {
    const std::string old = read_text(name);
    write_partition("b.h5", make_columns(51, 20), 51);
    validate(options());
    const std::string now = read_text(name);
    write(name, old);
    fails(ErrorCode::kData, name);
    write(name, now);
    EXPECT_NO_THROW(Dataset::open(directory()));
    write_partition("b.h5", make_columns(50, 20), 50);
    validate(options());
  };
  mixed("rows.bin");
  mixed("index.bin");
  // Rows of other splits in the same blocks.
  const std::string old = read_text("rows.bin");
  write_partition("b.h5", make_columns(50, 60), 50);
  validate(options());
  write("rows.bin", old);
  fails(ErrorCode::kData, "rows.bin belongs to another manifest");
}

TEST_F(OpenTest, RefusesDamagedFiles) {
  for (const char* name : {"rows.bin", "index.bin", "manifest.json"}) {
    const std::string good = read_text(name);
    std::string bad = good;
    const std::size_t at =
        std::string_view(name) == "manifest.json" ? good.find("\"content\": \"") + 14 : good.size() / 2;
    bad[at] = bad[at] == '1' ? '2' : '1';
    write(name, bad);
    fails(ErrorCode::kData, "run `muster validate " + directory().string() + "`");
    fails(ErrorCode::kData, name);
    write(name, good);
  }
}

TEST_F(OpenTest, RefusesAMissingOrChangedPartition) {
  const std::string good = read_text("b.h5");
  fs::remove(directory() / "b.h5");
  fails(ErrorCode::kData, (directory() / "b.h5").string() + ": the partition is missing");
  write("b.h5", good.substr(0, good.size() - 1));
  fails(ErrorCode::kData, "b.h5: changed since");
  std::string flipped = good;
  flipped[flipped.size() - 1] = static_cast<char>(flipped.back() ^ 1);
  write("b.h5", flipped);
  fails(ErrorCode::kData, "b.h5: changed since");
  write("b.h5", good);  // a new time, the same content
  EXPECT_NO_THROW(Dataset::open(directory()));
}

TEST_F(OpenTest, DamageThatIsToleratedIsListedAndWhatIsGivenUpIsNotOpened) {
  const std::string good = read_text("b.h5");
  write("b.h5", good + "more");
  Dataset dataset = Dataset::open(directory(), {}, Dataset::Damaged::kTolerate);
  ASSERT_EQ(dataset.damage().size(), 1U);
  EXPECT_EQ(dataset.damage()[0].partition, 1U);
  const auto last_block = static_cast<std::uint32_t>(dataset.row_index().blocks().size() - 1);
  std::vector<std::byte> times(dataset.row_index().blocks()[last_block].rows * 8);
  EXPECT_NO_THROW(dataset.make_reader()->read(last_block, kTime, times))
      << "its blocks are still those that were validated";
  dataset.give_up(1);
  const auto reader = dataset.make_reader();
  try {
    reader->read(last_block, kTime, times);
    FAIL() << "it was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
    EXPECT_NE(std::string(error.what()).find("b.h5: changed since"), std::string::npos) << error.what();
  }
  std::vector<std::byte> first(dataset.row_index().blocks()[0].rows * 8);
  EXPECT_NO_THROW(reader->read(0, kTime, first));
}

TEST_F(OpenTest, WhatIsReadOfAFileWithANewTimeIsCheckedByItsHashes) {
  const auto read_all = [&] {
    const Dataset dataset = Dataset::open(directory());
    EXPECT_EQ(dataset.unvouched().size(), 1U);
    const auto reader = dataset.make_reader();
    for (std::uint32_t block = 0; block < reader->blocks().size(); ++block) {
      for (std::size_t field = 0; field < dataset.contract().fields().size(); ++field) {
        std::vector<std::byte> values(reader->blocks()[block].rows *
                                      dataset.contract().fields()[field].bytes_per_row());
        reader->read(block, field, values);
      }
    }
  };
  const fs::path file = directory() / "b.h5";
  const auto time = fs::last_write_time(file);
  fs::last_write_time(file, time + std::chrono::seconds(5));
  EXPECT_NO_THROW(read_all());  // a copy

  // Another file of the same size and ends: one value of one row in the middle is another.
  Columns columns = make_columns(50, 20);
  set(columns, kAmount, 31, get<float>(columns, kAmount, 31) + 1);
  PartitionStamp stamp = PartitionStamp::of(file);
  write_partition("b.h5", columns, 50);
  ASSERT_EQ(fs::file_size(file), stamp.size);
  stamp.ends = PartitionStamp::of(file).ends;  // small files are all ends: pretend it is the same file
  IndexSidecar sidecar =
      IndexSidecar::deserialize(make_posix_file_system()->read(directory() / "index.bin"), "index.bin");
  sidecar.partitions.at(1).stamp = stamp;
  sidecar.partitions.at(1).stamp.modified_ns -= 1;
  const std::vector<std::byte> bytes = sidecar.serialize();
  write("index.bin", std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  try {
    read_all();
    FAIL() << "other values were read";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
    EXPECT_NE(error.where().find("b.h5:amount["), std::string::npos) << error.where();
  }
}

TEST_F(OpenTest, RootRelocatesThePartitions) {
  const fs::path elsewhere = directory() / "elsewhere";
  fs::create_directory(elsewhere);
  for (const char* name : {"a.h5", "b.h5"}) fs::rename(directory() / name, elsewhere / name);
  fails(ErrorCode::kData, "a.h5: the partition is missing");
  const Dataset dataset = Dataset::open(directory(), elsewhere);
  EXPECT_EQ(dataset.root(), elsewhere);
  std::vector<std::byte> times(dataset.row_index().blocks()[0].rows * 8);
  EXPECT_NO_THROW(dataset.make_reader()->read(0, kTime, times));
  // And validate finds them there, and writes nothing beside them.
  const Sha256 before = dataset.manifest().fingerprint();
  ValidateOptions settings = options();
  settings.root = elsewhere;
  EXPECT_EQ(validate(settings).manifest.fingerprint(), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(elsewhere), fs::directory_iterator()), 2);
}

}  // namespace
}  // namespace muster
