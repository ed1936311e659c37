#include "data_loader/reading/partition_list.h"

#include <gtest/gtest.h>

#include "core/text.h"
#include "tests/data_loader/error_of.h"
#include "tests/data_loader/partition_cases.h"
#include "tests/data_loader/scratch_directory.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

Contract contract(const std::string& partitions) {
  return Contract::parse(YamlNode::parse(
      "version: 1\n" + partitions + "fields: {x: {dtype: float32}}\nsplits: {by: fraction, train: 1}\n",
      "contract.yaml"));
}

std::vector<std::string> names(const std::vector<ListedPartition>& listed) {
  std::vector<std::string> all;
  for (const ListedPartition& partition : listed) all.push_back(partition.name + " " + partition.path);
  return all;
}

void touch(const std::filesystem::path& path) {
  std::filesystem::create_directories(path.parent_path());
  write_file(path, "");
}

TEST(PartitionList, BesideTheContractByFileName) {
  const ScratchDirectory directory;
  for (const char* name : {"b.h5", "a.hdf5", ".hidden.h5", "c.txt", "folder.h5/x"}) touch(directory / name);
  EXPECT_EQ(names(list_partitions(contract(""), directory.path())),
            (std::vector<std::string>{"a.hdf5 a.hdf5", "b.h5 b.h5"}));
  const ScratchDirectory empty;
  EXPECT_SAYS(error_of([&] { list_partitions(contract(""), empty.path()); }), "has no partition");
}

TEST(PartitionList, PatternsRelativeToTheRootFollowIt) {
  const ScratchDirectory directory;
  for (const char* name : {"root/2/x.h5", "root/1/x.h5", "root/1/y.nc", "root/deep/3/x.h5"})
    touch(directory / name);
  const auto listed =
      list_partitions(contract("partitions: ['*/x.h5', 'deep/3/*', '1/x.h5']\n"), directory / "root");
  EXPECT_EQ(names(listed),
            (std::vector<std::string>{"1/x.h5 1/x.h5", "2/x.h5 2/x.h5", "deep/3/x.h5 deep/3/x.h5"}));
  for (const ListedPartition& partition : listed) EXPECT_TRUE(std::filesystem::exists(partition.file));
}

TEST(PartitionList, AbsolutePathsStay) {
  const ScratchDirectory directory;
  for (const char* name : {"far/1/x.h5", "far/2/x.h5"}) touch(directory / name);
  const std::string pattern = (directory / "far/*/x.h5").string();
  EXPECT_EQ(names(list_partitions(contract("partitions: ['" + pattern + "']\n"), directory / "elsewhere")),
            (std::vector<std::string>{"1/x.h5 " + (directory / "far/1/x.h5").string(),
                                      "2/x.h5 " + (directory / "far/2/x.h5").string()}));
  const std::string one = (directory / "far/1/x.h5").string();
  EXPECT_EQ(list_partitions(contract("partitions: ['" + one + "']\n"), ".").front().name, "x.h5");
}

TEST(PartitionList, AFileIsListedOnceWhateverLeadsToIt) {
  const ScratchDirectory directory;
  touch(directory / "odd [1]*/x.h5");
  std::filesystem::create_symlink("x.h5", directory / "odd [1]*/y.h5");
  const std::string absolute = (directory / "odd [[]1]\\*/x.h5").string();
  const auto listed = list_partitions(contract("partitions: [x.h5, ./x.h5, '?.h5', '" + absolute + "']\n"),
                                      directory / "odd [1]*");
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed.front().name, "x.h5");
}

TEST(PartitionList, APatternThatMatchesNothingIsNamed) {
  const ScratchDirectory directory;
  touch(directory / "x.h5");
  const Error error =
      error_of([&] { list_partitions(contract("partitions: [x.h5, 'y*.h5']\n"), directory.path()); });
  EXPECT_EQ(error.code(), ErrorCode::kData);
  EXPECT_SAYS(error, "y*.h5: matches no file");
}

TEST(PartitionList, IsNoPartOfTheContractsHash) {
  EXPECT_EQ(contract("partitions: [a.h5]\n").hash(), contract("").hash());
  EXPECT_SAYS(error_of([] { contract("partitions: []\n"); }), "names no file");
}

}  // namespace
}  // namespace muster
