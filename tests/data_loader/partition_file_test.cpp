#include "data_loader/reading/partition_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <limits>

#include "data_loader/reading/hdf5_handle.h"
#include "tests/data_loader/partition_cases.h"
#include "tests/data_loader/scratch_directory.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

TEST(PartitionFile, SaysWhatAFileIsInstead) {
  const ScratchDirectory directory;
  const auto path = directory / "part.h5";
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "is empty (0 bytes)"},
      {"\n<!DOCTYPE HTML><html><body>404</body></html>", "HTML page"},
      {"<HTML>\n", "HTML page"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"},
      {"\x1f\x8b\x08 rest", "gzip"},
      {"PK\x03\x04 rest", "zip archive"},
      {"PAR1 rest", "Parquet"},
      {"a,b\n1,2\n", "CSV"},
      {std::string(4096, '\0'), "zeros only"},
      {"\x01\x02\x03\x04", "is not an HDF5 file"},
  };
  for (const auto& [content, says] : cases) {
    write_file(path, content);
    const Error error = error_of([&] { PartitionFile file(path); });
    EXPECT_EQ(error.code(), ErrorCode::kData) << says;
    EXPECT_EQ(error.where(), path.string());
    EXPECT_SAYS(error, says);
  }
}

TEST(PartitionFile, WhatCannotBeReadIsAStorageError) {
  const ScratchDirectory directory;
  const Error absent = error_of([&] { PartitionFile file(directory / "absent.h5"); });
  EXPECT_EQ(absent.code(), ErrorCode::kStorage);
  EXPECT_SAYS(absent, std::strerror(ENOENT));
  EXPECT_EQ(error_of([&] { PartitionFile file(directory.path()); }).code(), ErrorCode::kStorage);
  ASSERT_EQ(::mkfifo((directory / "fifo.h5").c_str(), 0600), 0);
  EXPECT_SAYS(error_of([&] { PartitionFile file(directory / "fifo.h5"); }),
              "not a regular file");  // and does not hang
}

TEST(PartitionFile, TruncationIsNoticedAtEveryLength) {
  const ScratchDirectory directory;
  const std::vector<Field> fields{make_field("x", DType::kFloat32, {5})};
  write_random(directory / "whole.h5", fields, 100, 16, Codec::kGzip, {100});
  const std::string whole = read_file(directory / "whole.h5");
  int said_truncated = 0;
  for (std::size_t length = 0; length < whole.size(); length += length < 64 ? 1 : 97) {
    write_file(directory / "cut.h5", whole.substr(0, length));
    const Error error = error_of([&] { PartitionFile file(directory / "cut.h5"); });
    EXPECT_EQ(error.code(), ErrorCode::kData) << length;
    const std::string expected = std::to_string(length) + " bytes, at least " + std::to_string(whole.size());
    said_truncated += std::string(error.what()).find(expected) != std::string::npos ? 1 : 0;
  }
  EXPECT_GT(said_truncated, 10);
}

TEST(PartitionFile, ATruncationWhileOpenIsNoZeros) {
  const ScratchDirectory directory;
  const std::vector<Field> fields{make_field("x", DType::kFloat32, {5})};
  write_random(directory / "p.h5", fields, 100, 16, Codec::kNone, {100});
  PartitionFile file(directory / "p.h5");
  read_all(file, fields[0], 0, 16);
  std::filesystem::resize_file(directory / "p.h5", std::filesystem::file_size(directory / "p.h5") - 100);
  EXPECT_SAYS(error_of([&] { read_all(file, fields[0], 84, 16); }), "shrank");
}

TEST(PartitionFile, AFlippedByteInACompressedChunkNamesTheRows) {
  const ScratchDirectory directory;
  const std::vector<Field> fields{make_field("x", DType::kFloat32, {500})};
  write_random(directory / "p.h5", fields, 32, 16, Codec::kGzip, {32});
  std::string content = read_file(directory / "p.h5");
  content[content.size() - 1000] = static_cast<char>(content[content.size() - 1000] ^ 0x40);
  write_file(directory / "p.h5", content);
  PartitionFile file(directory / "p.h5");
  const auto read_both = [&] {
    read_all(file, fields[0], 0, 16);
    read_all(file, fields[0], 16, 16);
  };
  const Error error = error_of(read_both);
  EXPECT_EQ(error.code(), ErrorCode::kData);
  EXPECT_EQ(error.where(), (directory / "p.h5").string() + ":x[16..31]");
  EXPECT_SAYS(error, "inflate");
}

TEST(PartitionFile, FieldsMustBeWhatTheContractSays) {
  const ScratchDirectory directory;
  write_random(directory / "p.h5",
               {make_field("amount", DType::kFloat32), make_field("image", DType::kUInt8, {4, 3})}, 10, 16,
               Codec::kNone, {10});
  PartitionFile file(directory / "p.h5");
  const auto says = [&](const Field& field, const std::string& text) {
    const Error error = error_of([&] { file.check_field(field); });
    EXPECT_EQ(error.code(), ErrorCode::kData);
    EXPECT_SAYS(error, (directory / "p.h5").string());
    EXPECT_SAYS(error, text);
  };
  says(make_field("amont", DType::kFloat32), "there is no dataset 'amont' (did you mean 'amount'?)");
  says(make_field("amount", DType::kFloat64), "p.h5:amount: is float32, the contract says float64");
  says(make_field("amount", DType::kInt32), "is float32, the contract says int32");
  says(make_field("image", DType::kInt8, {4, 3}), "is uint8, the contract says int8");
  says(make_field("image", DType::kUInt8, {3, 4}), "has [4, 3] per row, the contract says [3, 4] per row");
  says(make_field("image", DType::kUInt8), "has [4, 3] per row, the contract says one number per row");
  EXPECT_EQ(file.check_field(make_field("image", DType::kUInt8, {4, 3})), 10U);
}

/// Makes a file with libhdf5 itself, as other programs would.
template <typename Body>
void write_foreign(const std::filesystem::path& path, Body&& body) {
  const hdf5::Lock lock;
  const hdf5::Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
  ASSERT_TRUE(file.valid());
  body(file.get());
}

void write_vector(hid_t file, const char* name, hid_t file_type, hid_t memory_type, const void* values,
                  hsize_t count) {
  const hdf5::Handle space(H5Screate_simple(1, &count, nullptr), H5Sclose);
  const hdf5::Handle dataset(
      H5Dcreate2(file, name, file_type, space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Dclose);
  ASSERT_TRUE(dataset.valid());
  ASSERT_GE(H5Dwrite(dataset.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
}

template <typename T>
std::vector<T> read_values(PartitionFile& file, const Field& field, std::uint64_t rows) {
  std::vector<T> values(rows);
  file.read_rows(field, 0, rows, std::as_writable_bytes(std::span(values)));
  return values;
}

TEST(PartitionFile, BigEndianFilesReadAsNative) {
  const ScratchDirectory directory;
  const std::vector<double> doubles{1.5, -2.25, std::numeric_limits<double>::infinity(), 1e-310};
  const std::vector<std::int32_t> integers{1, -2, 1 << 30, std::numeric_limits<std::int32_t>::min()};
  write_foreign(directory / "be.h5", [&](hid_t file) {
    write_vector(file, "d", H5T_IEEE_F64BE, H5T_NATIVE_DOUBLE, doubles.data(), 4);
    write_vector(file, "i", H5T_STD_I32BE, H5T_NATIVE_INT32, integers.data(), 4);
  });
  PartitionFile file(directory / "be.h5");
  EXPECT_EQ(file.layouts()[0].type_name, "big-endian float64");
  EXPECT_EQ(file.layouts()[0].dtype, DType::kFloat64);
  EXPECT_EQ(read_values<double>(file, make_field("d", DType::kFloat64), 4), doubles);
  EXPECT_EQ(read_values<std::int32_t>(file, make_field("i", DType::kInt32), 4), integers);
  EXPECT_SAYS(error_of([&] { file.check_field(make_field("i", DType::kInt64)); }), "is big-endian int32");
}

TEST(PartitionFile, BooleansAreEitherByte) {
  const ScratchDirectory directory;
  write_foreign(directory / "bool.h5", [&](hid_t file) {
    const hdf5::Handle boolean(H5Tenum_create(H5T_STD_I8LE), H5Tclose);
    const hdf5::Handle colour(H5Tenum_create(H5T_STD_I16LE), H5Tclose);
    std::int8_t value = 0;
    std::int16_t number = 300;
    H5Tenum_insert(boolean.get(), "FALSE", &value);
    value = 1;
    H5Tenum_insert(boolean.get(), "TRUE", &value);
    H5Tenum_insert(colour.get(), "RED", &number);
    const std::vector<std::int8_t> booleans{0, 1, 1};
    const std::vector<std::int16_t> colours{300, 300, 300};
    write_vector(file, "b", boolean.get(), boolean.get(), booleans.data(), 3);
    write_vector(file, "c", colour.get(), colour.get(), colours.data(), 3);
  });
  PartitionFile file(directory / "bool.h5");
  EXPECT_EQ(file.layouts()[0].type_name, "bool");
  EXPECT_EQ(read_values<std::uint8_t>(file, make_field("b", DType::kUInt8), 3),
            (std::vector<std::uint8_t>{0, 1, 1}));
  EXPECT_EQ(read_values<std::int8_t>(file, make_field("b", DType::kInt8), 3),
            (std::vector<std::int8_t>{0, 1, 1}));
  EXPECT_EQ(read_values<std::int16_t>(file, make_field("c", DType::kInt16), 3),
            (std::vector<std::int16_t>{300, 300, 300}));
  EXPECT_SAYS(error_of([&] { file.check_field(make_field("c", DType::kUInt16)); }), "is enum of int16");
}

/// A text field.
Field text_field(const std::string& path, std::uint64_t length) {
  Field field = make_field(path, DType::kString);
  field.length = length;
  return field;
}

TEST(PartitionFile, TextsHoweverTheyArePadded) {
  const ScratchDirectory directory;
  write_foreign(directory / "texts.h5", [&](hid_t file) {
    for (const auto& [name, padding] :
         {std::pair{"ended", H5T_STR_NULLTERM}, {"zeros", H5T_STR_NULLPAD}, {"spaces", H5T_STR_SPACEPAD}}) {
      const hdf5::Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
      H5Tset_size(type.get(), 6);
      H5Tset_strpad(type.get(), padding);
      H5Tset_cset(type.get(), H5T_CSET_UTF8);
      const std::string pad(1, padding == H5T_STR_SPACEPAD ? ' ' : '\0');
      std::string values;
      for (std::string value : {"Zürch", "", "ab"}) {  // 6, 0 and 2 bytes; ended by a zero byte at most 5
        if (padding == H5T_STR_NULLTERM && value.size() == 6) value = "Zuric";
        while (value.size() < 6) value += pad;
        values += value;
      }
      write_vector(file, name, type.get(), type.get(), values.data(), 3);
    }
    const hdf5::Handle variable(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(variable.get(), H5T_VARIABLE);
    const std::vector<const char*> values = {"", "longer than six", nullptr};
    write_vector(file, "variable", variable.get(), variable.get(), static_cast<const void*>(values.data()),
                 3);
  });
  PartitionFile file(directory / "texts.h5");
  const auto texts = [&](const std::string& path, std::uint64_t length) {
    const Field field = text_field(path, length);
    std::vector<std::byte> bytes(3 * length, std::byte{0xff});
    file.read_rows(field, 0, 3, bytes);
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  using std::string_literals::operator""s;
  EXPECT_EQ(texts("zeros", 6), "Zürch\0\0\0\0\0\0ab\0\0\0\0"s);
  EXPECT_EQ(texts("spaces", 6), "Zürch\0\0\0\0\0\0ab\0\0\0\0"s);
  EXPECT_EQ(texts("ended", 7), "Zuric\0\0\0\0\0\0\0\0\0ab\0\0\0\0\0"s);
  EXPECT_EQ(texts("variable", 16), std::string(16, '\0') + "longer than six\0"s + std::string(16, '\0'));
  EXPECT_SAYS(error_of([&] { texts("zeros", 5); }), "string of 6 bytes, the contract says at most 5");
  const Error error = error_of([&] { texts("variable", 14); });
  EXPECT_EQ(error.code(), ErrorCode::kData);
  EXPECT_EQ(error.where(), (directory / "texts.h5").string() + ":variable[1]");
  EXPECT_SAYS(error, "a text of 15 bytes, the contract says at most 14");
  EXPECT_SAYS(error_of([&] { file.check_field(make_field("variable", DType::kInt8)); }),
              "is variable-length string");
}

TEST(PartitionFile, WhatIsNoRowOfNumbersIsNamed) {
  const ScratchDirectory directory;
  write_foreign(directory / "odd.h5", [&](hid_t file) {
    const hdf5::Handle text(H5Tcopy(H5T_C_S1), H5Tclose);
    const hdf5::Handle scalar(H5Screate(H5S_SCALAR), H5Sclose);
    write_vector(file, "s", text.get(), text.get(), "abc", 3);
    const hdf5::Handle one(
        H5Dcreate2(file, "one", H5T_STD_I32LE, scalar.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
        H5Dclose);
    const hdf5::Handle group(H5Gcreate2(file, "group", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
  });
  PartitionFile file(directory / "odd.h5");
  EXPECT_EQ(file.layouts().size(), 2U);
  EXPECT_SAYS(error_of([&] { file.check_field(make_field("s", DType::kInt8)); }),
              "is string of 1 bytes, the contract says int8");
  EXPECT_SAYS(error_of([&] { file.check_field(make_field("one", DType::kInt32)); }), "single value");
  EXPECT_SAYS(error_of([&] { file.check_field(make_field("group", DType::kInt32)); }), "odd.h5:group");
}

constexpr H5Z_filter_t kLzf = 32000;

/// A filter with the number of LZF that changes nothing and counts the chunks it is asked to decode; gone at
/// the end.
class StandInFilter {
 public:
  StandInFilter() {
    decoded() = 0;
    const hdf5::Lock lock;
    const H5Z_class2_t filter{H5Z_CLASS_T_VERS, kLzf, 1, 1, "stand-in", nullptr, nullptr, pass};
    EXPECT_GE(H5Zregister(&filter), 0);
  }
  ~StandInFilter() {
    const hdf5::Lock lock;
    EXPECT_GE(H5Zunregister(kLzf), 0);
  }
  StandInFilter(const StandInFilter&) = delete;
  StandInFilter& operator=(const StandInFilter&) = delete;

  static int& decoded() {
    static int count = 0;
    return count;
  }

 private:
  static std::size_t pass(unsigned flags, std::size_t, const unsigned[], std::size_t bytes, std::size_t*,
                          void**) {
    if ((flags & H5Z_FLAG_REVERSE) != 0) ++decoded();
    return bytes;
  }
};

/// 100 rows of int32 in chunks of 50 rows, through the stand-in filter.
void write_filtered(const std::filesystem::path& path) {
  write_foreign(path, [&](hid_t file) {
    const hsize_t count = 100, chunk = 50;
    const hdf5::Handle space(H5Screate_simple(1, &count, nullptr), H5Sclose);
    const hdf5::Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_chunk(properties.get(), 1, &chunk);
    H5Pset_filter(properties.get(), kLzf, H5Z_FLAG_MANDATORY, 0, nullptr);
    const hdf5::Handle dataset(
        H5Dcreate2(file, "x", H5T_STD_I32LE, space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT),
        H5Dclose);
    ASSERT_TRUE(dataset.valid());
    const std::vector<std::int32_t> values(100, 1);
    ASSERT_GE(H5Dwrite(dataset.get(), H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  });
}

TEST(PartitionFile, AMissingFilterIsNamed) {
  const ScratchDirectory directory;
  {
    const StandInFilter filter;
    write_filtered(directory / "lzf.h5");
  }
  PartitionFile file(directory / "lzf.h5");
  EXPECT_EQ(file.layouts()[0].filters, std::vector<std::string>{"lzf"});
  EXPECT_NE(file.layouts()[0].refusal, "");
  const Error error = error_of([&] { file.check_field(make_field("x", DType::kInt32)); });
  EXPECT_EQ(error.code(), ErrorCode::kData);
  EXPECT_SAYS(error, "lzf (HDF5 filter 32000)");
  EXPECT_SAYS(error, "HDF5_PLUGIN_PATH");
}

TEST(PartitionFile, AChunkIsDecodedOnceWhenReadPieceByPiece) {
  const ScratchDirectory directory;
  const StandInFilter filter;
  write_filtered(directory / "p.h5");
  const Field field = make_field("x", DType::kInt32);
  {
    PartitionFile file(directory / "p.h5");
    for (std::uint64_t first = 0; first < 100; first += 10) read_all(file, field, first, 10);
    EXPECT_EQ(filter.decoded(), 2) << "two chunks";
    read_all(file, field, 0, 100);
  }
  PartitionFile file(directory / "p.h5");
  const int before = filter.decoded();
  for (int i = 0; i < 3; ++i) read_all(file, field, 50, 50);
  EXPECT_EQ(filter.decoded(), before + 3) << "whole chunks are not kept: they would take memory for nothing";
}

TEST(PartitionFile, AFileOpenForWritingIsRefused) {
  const ScratchDirectory directory;
  const auto path = directory / "open.h5";
  write_random(path, {make_field("x", DType::kInt8)}, 10, 16, Codec::kNone, {10});
  hid_t writer = -1;
  {
    const hdf5::Lock lock;
    const hdf5::Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110);
    writer = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get());
    ASSERT_GE(writer, 0);
    ASSERT_GE(H5Fflush(writer, H5F_SCOPE_LOCAL), 0);
  }
  const std::string as_after_a_crash = read_file(path);
  {
    const hdf5::Lock lock;
    H5Fclose(writer);
  }
  write_file(path, as_after_a_crash);
  const Error error = error_of([&] { PartitionFile file(path); });
  EXPECT_EQ(error.code(), ErrorCode::kData);
  EXPECT_SAYS(error, "h5clear");
}

TEST(PartitionFile, AUserBlockIsSkipped) {
  const ScratchDirectory directory;
  {
    const hdf5::Lock lock;
    const hdf5::Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    H5Pset_userblock(creation.get(), 2048);
    const hdf5::Handle file(
        H5Fcreate((directory / "u.h5").c_str(), H5F_ACC_TRUNC, creation.get(), H5P_DEFAULT), H5Fclose);
    const std::int8_t value = 5;
    write_vector(file.get(), "x", H5T_STD_I8LE, H5T_NATIVE_INT8, &value, 1);
  }
  PartitionFile file(directory / "u.h5");
  EXPECT_EQ(read_values<std::int8_t>(file, make_field("x", DType::kInt8), 1), std::vector<std::int8_t>{5});
  std::filesystem::resize_file(directory / "u.h5", std::filesystem::file_size(directory / "u.h5") - 1);
  EXPECT_SAYS(error_of([&] { PartitionFile cut(directory / "u.h5"); }), "truncated");
}

}  // namespace
}  // namespace muster
