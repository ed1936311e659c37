// Columns in a file: the same values back from CSV and HDF5, and no half file under its name.
#include "data_loader/writing/table_writer.h"

#include <gtest/gtest.h>

#include "data_loader/dataset/contract_check_reader.h"
#include "data_loader/ingest/csv_reader.h"
#include "data_loader/reading/partition_file.h"
#include "tests/data_loader/error_of.h"
#include "tests/data_loader/random_columns.h"
#include "tests/data_loader/scratch_directory.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

const char* const kFields =
    "  row: {dtype: uint64}\n"
    "  name: {dtype: string, length: 9}\n"
    "  p: {dtype: float32, shape: [2]}\n"
    "  d: {dtype: float64}\n";

const std::vector<std::vector<std::byte>>& columns() {
  static const std::vector<std::vector<std::byte>> all{
      column_of<std::uint64_t>({0, 18446744073709551615U}),
      column_of<char>({'a', ',', '"', 'b', 0, 0, 0, 0, 0, ' ', 'x', 0, 0, 0, 0, 0, 0, 0}),
      column_of<float>({0.1F, 1e-30F, 16777217.0F, -0.5F}), column_of<double>({0.1, std::nan("")})};
  return all;
}

void write(TableWriter& writer) {
  std::vector<std::span<const std::byte>> first;
  std::vector<std::span<const std::byte>> second;
  for (const auto& column : columns()) {
    const std::span<const std::byte> all(column);
    first.push_back(all.first(all.size() / 2));
    second.push_back(all.subspan(all.size() / 2));
  }
  writer.append(first, 1);
  writer.append(second, 1);
}

TEST(TableWriter, CsvHasTheShortestTextsThatReadBack) {
  const ScratchDirectory scratch;
  const auto files = make_posix_file_system();
  const auto path = scratch / "t.csv";
  {
    const auto writer = make_table_writer(*files, path, contract_of(kFields).fields());
    write(*writer);
    EXPECT_FALSE(files->exists(path)) << "half a file under its name";
    writer->close();
  }
  EXPECT_EQ(files->read_text(path),
            "row,name,p.0,p.1,d\n0,\"a,\"\"b\",0.1,1e-30,0.1\n18446744073709551615,\" x\",16777216,-0.5,\n");
  EXPECT_EQ(files->list(scratch.path()), std::vector<std::string>{"t.csv"});
}

TEST(TableWriter, Hdf5HasTheSameBits) {
  const ScratchDirectory scratch;
  const auto files = make_posix_file_system();
  const auto fields = contract_of(kFields).fields();
  const auto writer = make_table_writer(*files, scratch / "t.h5", fields);
  write(*writer);
  writer->close();
  PartitionFile file(scratch / "t.h5");
  for (std::size_t i = 0; i < fields.size(); ++i) {
    ASSERT_EQ(file.check_field(fields[i]), 2U);
    std::vector<std::byte> read(columns()[i].size());
    file.read_rows(fields[i], 0, 2, read);
    EXPECT_EQ(read, columns()[i]);
  }
}

TEST(TableWriter, WideRowsGoIntoChunksOfFew) {
  const ScratchDirectory scratch;
  const auto files = make_posix_file_system();
  const auto fields =
      contract_of("  row: {dtype: int32}\n  field: {dtype: float32, shape: [512, 1024]}\n").fields();
  const std::vector<std::byte> rows = column_of<std::int32_t>({1, 2, 3});
  std::vector<std::byte> wide(3 * fields[1].bytes_per_row());
  wide.back() = std::byte{7};
  const auto writer = make_table_writer(*files, scratch / "t.h5", fields);
  writer->append(std::vector<std::span<const std::byte>>{rows, wide}, 3);
  writer->close();
  EXPECT_EQ(PartitionFile(scratch / "t.h5").layout("field", {}).chunk,
            (std::vector<std::uint64_t>{1, 512, 1024}));
  std::vector<std::byte> read(wide.size());
  PartitionFile(scratch / "t.h5").read_rows(fields[1], 0, 3, read);
  EXPECT_EQ(read, wide);
}

TEST(TableWriter, LeavesNothingWithoutClose) {
  const ScratchDirectory scratch;
  const auto files = make_posix_file_system();
  for (const char* name : {"t.csv", "t.hdf5"})
    write(*make_table_writer(*files, scratch / name, contract_of(kFields).fields()));
  EXPECT_EQ(files->list(scratch.path()), std::vector<std::string>{});
  const Error error = error_of([&] { (void)make_table_writer(*files, scratch / "t.txt", {}); });
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
}

TEST(CsvCell, ReadsBackAsItWas) {
  for (const std::string text : {"", "plain", "a,b", "\"", "two\nlines", "\r", " edge", "edge ", "Zürich"}) {
    const std::string record = csv_cell(text) + "," + csv_cell(text) + "\n";
    bool given = false;
    CsvReader reader([&](std::span<std::byte> out) -> std::size_t {
      if (given) return 0;
      given = true;
      std::memcpy(out.data(), record.data(), record.size());
      return record.size();
    });
    ASSERT_TRUE(reader.next());
    ASSERT_EQ(reader.fields().size(), 2U) << record;
    EXPECT_EQ(reader.fields()[1], text);
  }
}

TEST(ContractCheckReader, HoldsTheSplitsRowsToTheOtherContract) {
  const Contract data = contract_of("  x: {dtype: float32}\n  y: {dtype: int8}\n");
  const Contract strict = contract_of("  x: {dtype: float32, range: [0, 5]}\n");
  const std::vector<Block> blocks{{0, 0, 3}, {0, 3, 2}};
  const auto make = [&](RowIndex& index) {
    auto memory = make_memory_block_reader(
        data, blocks, {column_of<float>({1, 9, 2, 3, 7}), column_of<std::int8_t>({9, 9, 9, 9, 9})});
    return make_contract_check_reader(std::move(memory), {{0, strict.fields()[0]}}, index, 0);
  };
  RowIndex index({"all"}, blocks);
  index.append_block(std::vector<std::uint8_t>{0, RowIndex::kNone, 0});
  index.append_block(std::vector<std::uint8_t>{0, 0});
  const auto reader = make(index);
  std::vector<std::byte> three(12);
  EXPECT_NO_THROW(reader->read(0, 0, three)) << "row 1 is in no split";
  std::vector<std::byte> counts(3);
  EXPECT_NO_THROW(reader->read(0, 1, counts)) << "a field that the model does not read";
  std::vector<std::byte> two(8);
  const Error error = error_of([&] { reader->read(1, 0, two); });
  EXPECT_EQ(error.code(), ErrorCode::kData);
  EXPECT_NE(error.where().find("x[4]"), std::string::npos) << error.what();
  EXPECT_NE(std::string(error.what()).find('7'), std::string::npos) << error.what();
}

}  // namespace
}  // namespace muster
