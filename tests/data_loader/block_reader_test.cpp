#include "data_loader/reading/block_reader.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/data_loader/partition_cases.h"
#include "tests/data_loader/scratch_directory.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

constexpr const char* kContract = R"(version: 1
fields:
  amount: {dtype: float32}
  image: {dtype: uint8, shape: [3, 2], path: pictures/image}
  label: {dtype: int64, role: label}
splits:
  by: fraction
  train: 1.0
)";

/// A few partitions of different sizes, an empty one among them, and all their values.
struct Data {
  ScratchDirectory directory;
  Contract contract = Contract::parse(YamlNode::parse(kContract, "contract.yaml"));
  Manifest manifest;
  std::vector<std::vector<std::byte>> columns;  ///< all rows, in manifest order

  Data() : columns(contract.fields().size()) {
    std::uint32_t number = 0;
    for (const std::uint64_t rows : {37, 0, 16, 5, 100}) {
      Partition partition;
      partition.name = partition.path = "part-" + std::to_string(number) + ".h5";
      partition.rows = rows;
      partition.block_rows = 16;
      const Codec codec = number % 2 == 0 ? Codec::kNone : Codec::kGzip;
      const std::uint32_t chunk_rows = number == 4 ? 24 : 16;  // blocks need not be chunks
      const auto written =
          write_random(directory / partition.name, contract.fields(), rows, chunk_rows, codec, {7}, number);
      for (std::size_t f = 0; f < columns.size(); ++f) {
        columns[f].insert(columns[f].end(), written[f].begin(), written[f].end());
      }
      manifest.partitions.push_back(partition);
      ++number;
    }
  }

  std::unique_ptr<BlockReader> from_files(std::size_t max_open_files) const {
    return make_hdf5_block_reader(contract, manifest, directory.path(), max_open_files);
  }
  std::unique_ptr<BlockReader> from_memory() const {
    return make_memory_block_reader(contract, manifest.blocks(), columns);
  }
};

std::vector<std::byte> read_block(BlockReader& reader, const Contract& contract, std::uint32_t block,
                                  std::size_t field) {
  std::vector<std::byte> out(reader.blocks()[block].rows * contract.fields()[field].bytes_per_row());
  reader.read(block, field, out);
  return out;
}

/// All blocks of a field, laid end to end.
std::vector<std::byte> read_column(BlockReader& reader, const Contract& contract, std::size_t field) {
  std::vector<std::byte> column;
  for (std::uint32_t block = 0; block < reader.blocks().size(); ++block) {
    const std::vector<std::byte> part = read_block(reader, contract, block, field);
    column.insert(column.end(), part.begin(), part.end());
  }
  return column;
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(entries, {}));
}

TEST(BlockReader, BothKindsGiveEveryValueInOrder) {
  const Data data;
  const auto files = data.from_files(64);
  const auto memory = data.from_memory();
  ASSERT_EQ(files->blocks().size(), 3U + 0 + 1 + 1 + 7);
  ASSERT_EQ(memory->blocks().size(), files->blocks().size());
  for (std::size_t field = 0; field < data.columns.size(); ++field) {
    EXPECT_EQ(read_column(*files, data.contract, field), data.columns[field]);
    EXPECT_EQ(read_column(*memory, data.contract, field), data.columns[field]);
  }
}

TEST(BlockReader, KeepsNoMoreFilesOpenThanTold) {
  const Data data;
  const std::size_t before = open_descriptors();
  {
    const auto reader = data.from_files(2);
    EXPECT_EQ(open_descriptors(), before) << "files are opened when first needed";
    std::size_t most = 0;
    RandomStream random(11);
    for (int i = 0; i < 200; ++i) {
      const auto block = static_cast<std::uint32_t>(random.below(reader->blocks().size()));
      read_block(*reader, data.contract, block, random.below(3));
      most = std::max(most, open_descriptors() - before);
    }
    EXPECT_EQ(most, 2U);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(BlockReader, ThreadsReadThroughOneReader) {
  const Data data;
  const auto files = data.from_files(2);
  const auto memory = data.from_memory();
  std::atomic<int> differences = 0;
  const auto work = [&](std::uint64_t key) {
    RandomStream random(key);
    for (int i = 0; i < 300; ++i) {
      const auto block = static_cast<std::uint32_t>(random.below(files->blocks().size()));
      const std::size_t field = random.below(3);
      const auto expected = read_block(*memory, data.contract, block, field);
      differences += read_block(*files, data.contract, block, field) == expected ? 0 : 1;
    }
  };
  std::thread first(work, 1);
  std::thread second(work, 2);
  first.join();
  second.join();
  EXPECT_EQ(differences, 0);
}

TEST(BlockReader, PartitionsInOneProcessShareTheLibrary) {
  const Data data;
  std::atomic<int> differences = 0;
  const auto work = [&] {
    for (int i = 0; i < 10; ++i) {
      const auto reader = data.from_files(1);
      differences += read_column(*reader, data.contract, 0) == data.columns[0] ? 0 : 1;
    }
  };
  std::thread first(work);
  std::thread second(work);
  write_random(data.directory / "third.h5", data.contract.fields(), 1000, 16, Codec::kGzip, {7});
  first.join();
  second.join();
  EXPECT_EQ(differences, 0);
}

TEST(BlockReader, RefusesAPartitionThatIsNotWhatTheManifestSays) {
  Data data;
  const std::string third = (data.directory / "part-2.h5").string();
  write_random(third, data.contract.fields(), 15, 16, Codec::kNone, {7});
  const Error fewer = error_of([&] { read_block(*data.from_files(64), data.contract, 3, 0); });
  EXPECT_EQ(fewer.code(), ErrorCode::kData);
  EXPECT_SAYS(fewer, third + ":amount: has 15 rows, the manifest says 16");

  std::vector<Field> others = data.contract.fields();
  others[0].dtype = DType::kFloat64;
  write_random(third, others, 16, 16, Codec::kNone, {7});
  const auto reader = data.from_files(64);
  EXPECT_SAYS(error_of([&] { read_block(*reader, data.contract, 3, 0); }),
              "is float64, the contract says float32");
  EXPECT_EQ(read_block(*reader, data.contract, 3, 2).size(), 16U * 8)
      << "the other fields are as they should be";

  std::filesystem::remove(third);
  const Error gone = error_of([&] { read_block(*data.from_files(64), data.contract, 3, 0); });
  EXPECT_EQ(gone.code(), ErrorCode::kStorage);
  EXPECT_SAYS(gone, third);
}

TEST(BlockReader, MemoryMustBeOfTheRightSize) {
  const Data data;
  std::vector<std::vector<std::byte>> columns = data.columns;
  columns[1].pop_back();
  EXPECT_SAYS(error_of([&] { make_memory_block_reader(data.contract, data.manifest.blocks(), columns); }),
              "'image'");
  std::vector<std::byte> small(3);
  EXPECT_EQ(error_of([&] { data.from_memory()->read(0, 0, small); }).code(), ErrorCode::kBug);
  EXPECT_EQ(error_of([&] { data.from_files(1)->read(0, 0, small); }).code(), ErrorCode::kBug);
  EXPECT_EQ(error_of([&] { data.from_files(1)->read(12, 0, small); }).code(), ErrorCode::kBug);
}

/// Many files whose blocks are chunks, or cut them.
TEST(Hdf5BlockReaderTest, KeepsFewFilesOpenWhereTheLibraryCachesChunks) {
  const ScratchDirectory directory;
  const Contract contract = Contract::parse(YamlNode::parse(kContract, "contract.yaml"));
  for (const std::uint32_t chunk_rows : {16U, 24U}) {
    Manifest manifest;
    for (std::uint32_t number = 0; number < 40; ++number) {
      Partition partition;
      partition.name = partition.path = fmt::format("{}-{}.h5", chunk_rows, number);
      partition.rows = 48;
      partition.block_rows = 16;
      write_random(directory / partition.name, contract.fields(), 48, chunk_rows, Codec::kNone, {48}, number);
      manifest.partitions.push_back(partition);
    }
    const auto reader = make_hdf5_block_reader(contract, manifest, directory.path(), 64);
    const std::size_t before = open_descriptors();
    for (std::uint32_t block = 0; block < reader->blocks().size(); ++block) {
      for (std::size_t field = 0; field < 3; ++field) read_block(*reader, contract, block, field);
    }
    const std::size_t open = open_descriptors() - before;
    EXPECT_LE(open, chunk_rows == 16 ? 40U : 11U) << "3 MiB of chunks a file, 32 MiB in all";
    EXPECT_GE(open, chunk_rows == 16 ? 40U : 5U);
  }
}

TEST(BlockReader, AFileThatTookAPathIsOpenedAnewAndOneThatIsGoneIsMissed) {
  const Data data;
  const auto reader = data.from_files(64);
  const std::vector<std::byte> before = read_block(*reader, data.contract, 0, 0);
  write_random(data.directory / "other.h5", data.contract.fields(), 37, 16, Codec::kNone, {7}, 99);
  std::filesystem::rename(data.directory / "other.h5", data.directory / "part-0.h5");
  EXPECT_NE(read_block(*reader, data.contract, 0, 0), before) << "what was open is another file";
  std::filesystem::remove(data.directory / "part-0.h5");
  EXPECT_THROW(read_block(*reader, data.contract, 0, 0), Error);
  reader->forget(2);
  EXPECT_NO_THROW(read_block(*reader, data.contract, 4, 0));
}

}  // namespace
}  // namespace muster
