#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <bit>
#include <csignal>
#include <cstring>

#include "tests/data_loader/partition_cases.h"
#include "tests/data_loader/scratch_directory.h"

// Read by the leak sanitizer, where there is one. libhdf5 1.10 loses the chunk it could not write to a full
// disk: memory from its H5FL_blk_malloc, a frame that only the slow unwinder sees in a library built without
// frame pointers.
// NOLINTNEXTLINE(readability-identifier-naming): the name is the sanitizer's
extern "C" const char* __lsan_default_suppressions() { return "leak:H5FL_blk_malloc"; }
// NOLINTNEXTLINE(readability-identifier-naming): the name is the sanitizer's
extern "C" const char* __asan_default_options() { return "fast_unwind_on_malloc=0"; }

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

/// Every element type, and shapes up to rank 3 beyond the row, some of them in groups.
std::vector<Field> every_kind_of_field() {
  std::vector<Field> fields;
  for (int type = 0; type <= static_cast<int>(DType::kFloat64); ++type) {
    fields.push_back(make_field("scalars/of_type_" + std::to_string(type), static_cast<DType>(type)));
  }
  fields.push_back(make_field("vector", DType::kFloat32, {5}));
  fields.push_back(make_field("deep/er/image", DType::kUInt8, {4, 3, 2}));
  return fields;
}

TEST(Partition, RoundTripsEveryTypeAndShape) {
  const ScratchDirectory directory;
  const std::vector<Field> fields = every_kind_of_field();
  for (const Codec codec : {Codec::kNone, Codec::kGzip}) {
    for (const std::uint64_t rows : {0, 1, 16, 37, 64}) {
      const auto path = directory / "p.h5";
      const auto columns = write_random(path, fields, rows, 16, codec, {1, 16, 3, 40});
      PartitionFile file(path);
      for (std::size_t f = 0; f < fields.size(); ++f) {
        ASSERT_EQ(file.check_field(fields[f]), rows);
        EXPECT_EQ(read_all(file, fields[f], 0, rows), columns[f])
            << fields[f].path << " of " << rows << " rows";
        if (rows < 37) continue;
        const std::uint64_t row = fields[f].bytes_per_row();
        const std::vector<std::byte> expected(columns[f].begin() + static_cast<std::ptrdiff_t>(13 * row),
                                              columns[f].begin() + static_cast<std::ptrdiff_t>(36 * row));
        EXPECT_EQ(read_all(file, fields[f], 13, 23), expected) << "rows inside chunks of " << fields[f].path;
      }
    }
  }
}

TEST(Partition, LayoutsSayWhatTheWriterChose) {
  const ScratchDirectory directory;
  const std::vector<Field> fields{make_field("x", DType::kFloat32, {5}),
                                  make_field("group/label", DType::kUInt8)};
  write_random(directory / "gzip.h5", fields, 40, 16, Codec::kGzip, {40});
  write_random(directory / "none.h5", fields, 40, 16, Codec::kNone, {40});

  const std::vector<DatasetLayout> gzip = PartitionFile(directory / "gzip.h5").layouts();
  ASSERT_EQ(gzip.size(), 2U);
  EXPECT_EQ(gzip[0].path, "group/label");
  EXPECT_EQ(gzip[0].filters, std::vector<std::string>{"deflate"});  // shuffling single bytes does nothing
  EXPECT_EQ(gzip[1].path, "x");
  EXPECT_EQ(gzip[1].dtype, DType::kFloat32);
  EXPECT_EQ(gzip[1].type_name, "float32");
  EXPECT_EQ(gzip[1].shape, (std::vector<std::uint64_t>{40, 5}));
  EXPECT_EQ(gzip[1].chunk, (std::vector<std::uint64_t>{16, 5}));
  EXPECT_EQ(gzip[1].filters, (std::vector<std::string>{"shuffle", "deflate"}));
  EXPECT_EQ(gzip[1].refusal, "");
  const std::vector<DatasetLayout> none = PartitionFile(directory / "none.h5").layouts();
  EXPECT_TRUE(none[1].filters.empty());
  EXPECT_EQ(none[1].chunk, (std::vector<std::uint64_t>{16, 5}));
}

TEST(Partition, SameRowsMakeTheSameBytes) {
  const ScratchDirectory directory;
  const std::vector<Field> fields = every_kind_of_field();
  for (const Codec codec : {Codec::kNone, Codec::kGzip}) {
    ::mallopt(M_PERTURB, 0xA5);  // fresh memory is full of garbage, a different one each time
    write_random(directory / "a.h5", fields, 37, 16, codec, {37});
    ::sleep(1);
    ::mallopt(M_PERTURB, 0x3C);
    write_random(directory / "b.h5", fields, 37, 16, codec, {5, 1});
    ::mallopt(M_PERTURB, 0);
    EXPECT_TRUE(read_file(directory / "a.h5") == read_file(directory / "b.h5"));
  }
}

TEST(Partition, AppearsOnlyWhenClosed) {
  const ScratchDirectory directory;
  const auto path = directory / "p.h5";
  const std::vector<std::byte> values(100 * 4);
  const std::vector<std::span<const std::byte>> columns{values};
  {
    PartitionWriter writer(path, {make_field("x", DType::kFloat32)}, 16, Codec::kNone);
    writer.append(columns, 100);
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_FALSE(std::filesystem::is_empty(directory.path()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path())) << "an abandoned partition left something behind";
  PartitionWriter writer(path, {make_field("x", DType::kFloat32)}, 16, Codec::kNone);
  writer.append(columns, 100);
  writer.close();
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
  EXPECT_EQ(error_of([&] { writer.append(columns, 100); }).code(), ErrorCode::kBug);
}

/// A limit on file sizes while it lives: the nearest thing to a full disk that needs no privileges.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST(Partition, FullDiskIsOneErrorAndLeavesNothing) {
  const ScratchDirectory directory;
  const std::vector<std::byte> values(64 * 1024 * 4);
  const std::vector<std::span<const std::byte>> columns{values};
  const std::vector<Field> fields{make_field("x", DType::kFloat32)};
  const auto open_descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = open_descriptors();
  for (const rlim_t room : {0, 40, 4096, 100'000}) {
    auto writer = std::make_unique<PartitionWriter>(directory / "p.h5", fields, 1024, Codec::kNone);
    const Error error = error_of([&] {
      const FileSizeLimit limit(room);
      writer->append(columns, 64 * 1024);
      writer->close();
    });
    EXPECT_EQ(error_of([&] { writer->close(); }).code(), ErrorCode::kBug)
        << "a failed partition must not appear";
    writer.reset();
    EXPECT_EQ(error.code(), ErrorCode::kStorage) << room;
    EXPECT_SAYS(error, (directory / "p.h5").string());
    EXPECT_SAYS(error, std::strerror(EFBIG));
    EXPECT_TRUE(std::filesystem::is_empty(directory.path())) << room;
    EXPECT_EQ(open_descriptors(), before) << "a file that is gone is still open";
  }
  PartitionWriter writer(directory / "p.h5", fields, 1024, Codec::kNone);  // and the library still works
  writer.append(columns, 64 * 1024);
  writer.close();
  EXPECT_EQ(PartitionFile(directory / "p.h5").check_field(fields[0]), 64U * 1024);
}

TEST(Partition, WriterRefusesWhatCannotBeStored) {
  const ScratchDirectory directory;
  const Error missing = error_of([&] {
    PartitionWriter(directory / "no/such/p.h5", {make_field("x", DType::kInt8)}, 16, Codec::kNone);
  });
  EXPECT_EQ(missing.code(), ErrorCode::kStorage);
  EXPECT_SAYS(missing, std::strerror(ENOENT));
  const Error huge = error_of([&] {
    PartitionWriter(directory / "p.h5", {make_field("x", DType::kInt8, {1U << 20})}, 4096, Codec::kNone);
  });
  EXPECT_EQ(huge.code(), ErrorCode::kConfig);
  EXPECT_SAYS(huge, "4 GiB");
}

TEST(ChooseBlockRows, GivesEnoughBlocksOfBoundedSize) {
  int many_rows = 0, wide_rows = 0, few_rows = 0;
  for (std::uint64_t rows = 0; rows < 200'000'000; rows = rows * 3 + 1) {
    for (std::uint64_t bytes = 1; bytes < 10'000'000; bytes = bytes * 5 + 1) {
      const std::uint32_t block = choose_block_rows(rows, bytes);
      EXPECT_TRUE(std::has_single_bit(block));
      EXPECT_GE(block, 16U);
      EXPECT_LE(block, 65536U);
      if (rows >= 256 * 16) {
        EXPECT_GE(rows / block, 256U) << rows;
      }
      if (bytes <= (1U << 20) / 16) {
        EXPECT_LE(block * bytes, 1U << 20) << bytes;
      }
      many_rows += block == 65536;
      wide_rows += rows >= 4096 * 256 && block == 16;
      few_rows += rows < 4096 && block == 16;
    }
  }
  EXPECT_GT(many_rows, 0);
  EXPECT_GT(wide_rows, 0);
  EXPECT_GT(few_rows, 0);
  EXPECT_EQ(choose_block_rows(60000, 785), 128U);
  EXPECT_EQ(choose_block_rows(0, 0), 16U);
}

TEST(ParseCodec, KnowsItsNames) {
  EXPECT_EQ(parse_codec("none"), Codec::kNone);
  EXPECT_EQ(parse_codec("gzip"), Codec::kGzip);
  const Error error = error_of([] { parse_codec("gzp"); });
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_SAYS(error, "did you mean 'gzip'?");
}

}  // namespace
}  // namespace muster
