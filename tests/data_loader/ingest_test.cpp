// ingest: IDX files to partitions, and one clear line for every way in which they can be wrong.
#include "data_loader/ingest/ingest.h"

#include "data_loader/writing/dataset_writer.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "data_loader/ingest/idx_header.h"
#include "data_loader/order/row_shuffle.h"
#include "tests/data_loader/columns.h"
#include "tests/data_loader/scratch_directory.h"

namespace muster::testing {
namespace {

std::string big_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) text += static_cast<char>(value >> shift & 0xff);
  return text;
}

std::string idx_header(int type, const std::vector<std::uint64_t>& shape) {
  std::string text = big_endian(static_cast<std::uint64_t>(type) << 8 | shape.size(), 4);
  for (const std::uint64_t extent : shape) text += big_endian(extent, 4);
  return text;
}

std::string gzipped(const std::string& content, const std::filesystem::path& scratch) {
  gzFile file = ::gzopen(scratch.c_str(), "wb");
  ::gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  ::gzclose(file);
  return read_file(scratch);
}

constexpr const char* kContract =
    "contract:\n"
    "  version: 1\n"
    "  fields:\n"
    "    image: {dtype: uint8, shape: [2, 3]}\n"
    "    label: {dtype: uint8, role: label}\n"
    "    row: {dtype: int64, role: time}\n"
    "  splits: {by: time, field: row, train: {until: 5}, test: {from: 5}}\n"
    "row_number: row\n";

/// Two sources of 5 and 4 rows: the image of row r holds r, the label is r % 3.
class Ingest : public ::testing::Test {
 protected:
  Ingest() {
    write_part("train", 0, 5, true);
    write_part("test", 5, 4, false);
  }

  void write_part(const std::string& name, int first, int rows, bool gzip) {
    std::string images = idx_header(8, {static_cast<std::uint64_t>(rows), 2, 3});
    std::string labels = idx_header(8, {static_cast<std::uint64_t>(rows)});
    for (int row = first; row < first + rows; ++row) {
      images += std::string(6, static_cast<char>(row));
      labels += static_cast<char>(row % 3);
    }
    write_file(scratch_ / (name + "-images"), gzip ? gzipped(images, scratch_ / "gz") : images);
    write_file(scratch_ / (name + "-labels"), labels);
  }

  std::filesystem::path spec(const std::string& rest = kContract) {
    write_file(scratch_ / "spec.yaml",
               "version: 1\n"
               "sources:\n"
               "  - format: idx\n"
               "    files: {image: train-images, label: train-labels}\n"
               "  - {format: idx, files: {label: test-labels, image: test-images}}\n" +
                   rest);
    return scratch_ / "spec.yaml";
  }

  IngestReport run(const std::filesystem::path& spec, std::optional<std::uint64_t> shuffle_seed = {}) {
    IngestOptions options;
    options.spec = spec;
    options.out = out();
    options.shuffle_seed = shuffle_seed;
    return ingest(options);
  }

  /// Ingests a spec that must fail, and checks that nothing is left of it.
  Error refusal(const std::filesystem::path& spec) {
    const Error error = error_of([&] { run(spec); });
    EXPECT_TRUE(!std::filesystem::exists(out()) || std::filesystem::is_empty(out())) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error;
  }

  std::filesystem::path out() const { return scratch_ / "out"; }
  std::vector<double> column(const std::string& name) const {
    const Contract contract = Contract::load(out() / "contract.yaml");
    return numbers(contract.field(name).dtype, read_columns(out()).at(name));
  }

  ScratchDirectory scratch_;
};

void expect_says(const Error& error, ErrorCode code, const std::string& where, const std::string& what) {
  EXPECT_EQ(error.code(), code) << error.what();
  EXPECT_NE(error.where().find(where), std::string::npos) << error.what();
  EXPECT_NE(error.message().find(what), std::string::npos) << error.what();
}

TEST_F(Ingest, PutsSourcesOneAfterTheOther) {
  const IngestReport report = run(spec(std::string(kContract) + "partitions: 2\n"));
  EXPECT_EQ(report.rows, 9U);
  EXPECT_EQ(report.partitions, 2U);
  EXPECT_EQ(report.bytes, 9U * (6 + 1 + 8));
  EXPECT_EQ(rows_of_partitions(out()), (std::vector<std::uint64_t>{5, 4}));
  EXPECT_EQ(column("row"), (std::vector<double>{0, 1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(column("label"), (std::vector<double>{0, 1, 2, 0, 1, 2, 0, 1, 2}));
  const std::vector<double> pixels = column("image");
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const std::size_t row = i / 6;
    ASSERT_EQ(pixels[i], static_cast<double>(row));
  }
}

TEST_F(Ingest, CutsByRowsPerPartition) {
  run(spec(std::string(kContract) + "rows_per_partition: 4\n"));
  EXPECT_EQ(rows_of_partitions(out()), (std::vector<std::uint64_t>{3, 3, 3}));
}

TEST_F(Ingest, TakesAContractFileAsItIs) {
  const std::string contract =
      "# for people\nversion: 1\nfields:\n  image: {dtype: uint8, shape: [2, 3]}\n"
      "  label: {dtype: uint8, role: label}\nsplits: {by: fraction, train: 1}\n";
  write_file(scratch_ / "mine.yaml", contract);
  run(spec("contract: mine.yaml\n"));
  EXPECT_EQ(read_file(out() / "contract.yaml"), contract);
  EXPECT_EQ(read_columns(out()).size(), 2U);
}

TEST_F(Ingest, ShufflesWholeRowsAndKeepsTheirNumbers) {
  run(spec(), 3);
  const std::vector<double> rows = column("row");
  const std::vector<double> pixels = column("image");
  const std::vector<double> labels = column("label");
  std::vector<double> sorted = rows;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, (std::vector<double>{0, 1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_NE(rows, sorted);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(pixels[6 * i], rows[i]);
    EXPECT_EQ(pixels[6 * i + 5], rows[i]);
    EXPECT_EQ(labels[i], std::fmod(rows[i], 3));
  }
  EXPECT_FALSE(std::filesystem::exists(out() / "shuffle.tmp"));
  std::filesystem::remove_all(out());
  run(spec(), 3);
  EXPECT_EQ(column("row"), rows);
  std::filesystem::remove_all(out());
  run(spec(), 4);
  EXPECT_NE(column("row"), rows);
}

TEST_F(Ingest, ReadsEveryType) {
  const auto bits_of = [](auto value) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    return bits;
  };
  struct Case {
    int code;
    const char* dtype;
    int bytes;
    std::uint64_t bits;
    double value;
  };
  const std::vector<Case> cases{{0x08, "uint8", 1, 200, 200},
                                {0x09, "int8", 1, 0x80, -128},
                                {0x0B, "int16", 2, 0x8001, -32767},
                                {0x0C, "int32", 4, 0x01020304, 16909060},
                                {0x0D, "float32", 4, bits_of(-1.5F), -1.5},
                                {0x0E, "float64", 8, bits_of(1e-300), 1e-300}};
  for (const Case& some : cases) {
    write_file(scratch_ / "x", idx_header(some.code, {1, 2}) + big_endian(some.bits, some.bytes) +
                                   std::string(static_cast<std::size_t>(some.bytes), '\0'));
    write_file(
        scratch_ / "one.yaml",
        fmt::format("version: 1\nsources: [{{format: idx, files: {{x: x}}}}]\ncontract:\n  version: 1\n"
                    "  fields: {{x: {{dtype: {}, shape: [2]}}}}\n  splits: {{by: fraction, train: 1}}\n",
                    some.dtype));
    run(scratch_ / "one.yaml");
    EXPECT_EQ(column("x"), (std::vector<double>{some.value, 0})) << some.dtype;
    std::filesystem::remove_all(out());
  }
}

TEST_F(Ingest, RefusesDamagedFiles) {
  // With several partitions, so that some are whole when the damage is met.
  const std::filesystem::path several = spec(std::string(kContract) + "partitions: 3\n");
  const std::string images = read_file(scratch_ / "test-images");
  const std::string labels = read_file(scratch_ / "test-labels");
  write_file(scratch_ / "test-images", images.substr(0, images.size() - 1));
  expect_says(refusal(several), ErrorCode::kData, "test-images",
              "ends at offset 39; its header announces 4 rows");
  write_file(scratch_ / "test-images", images + "x");
  expect_says(refusal(several), ErrorCode::kData, "test-images", "goes on at offset 40");
  write_file(scratch_ / "test-images", images);

  write_file(scratch_ / "test-labels", "<!DOCTYPE html><html>not found</html>");
  expect_says(refusal(several), ErrorCode::kData, "test-labels", "is no IDX file: it is text");
  write_file(scratch_ / "test-labels", "");
  expect_says(refusal(several), ErrorCode::kData, "test-labels", "ends at offset 0");
  write_file(scratch_ / "test-labels", labels);

  const std::string packed = read_file(scratch_ / "train-images");
  write_file(scratch_ / "train-images", packed.substr(0, packed.size() - 9));
  expect_says(refusal(several), ErrorCode::kData, "train-images", "gzip");
  std::string flipped = packed;
  flipped[packed.size() - 6] = static_cast<char>(flipped[packed.size() - 6] ^ 1);  // in the checksum
  write_file(scratch_ / "train-images", flipped);
  expect_says(refusal(several), ErrorCode::kData, "train-images", "damaged gzip");
  std::filesystem::remove(scratch_ / "train-images");
  expect_says(refusal(several), ErrorCode::kStorage, "train-images", "No such file");
}

TEST_F(Ingest, RefusesFilesThatDoNotBelongTogether) {
  write_file(scratch_ / "test-labels", idx_header(8, {3}) + "abc");
  expect_says(refusal(spec()), ErrorCode::kConfig, "spec.yaml:5:", "has 4 rows");
  write_part("test", 5, 4, false);
  write_file(scratch_ / "train-labels", idx_header(9, {5}) + "abcde");
  expect_says(refusal(spec()), ErrorCode::kConfig,
              "spec.yaml:3:", "'label' is int8 [] here and uint8 [] in the contract");
  write_part("train", 0, 0, false);
  write_part("test", 0, 0, false);
  expect_says(refusal(spec()), ErrorCode::kConfig, "spec.yaml:2:", "no rows");
}

TEST_F(Ingest, RefusesSpecsThatSayNothingUseful) {
  const std::string contract = kContract;
  expect_says(refusal(spec(contract + "partition: 2\n")), ErrorCode::kConfig, "spec.yaml:14:", "partitions");
  expect_says(refusal(spec(contract + "partitions: 0\n")), ErrorCode::kConfig, "spec.yaml:14:", "at least 1");
  expect_says(refusal(spec(contract + "partitions: 2\nrows_per_partition: 2\n")), ErrorCode::kConfig,
              "spec.yaml:15:", "not both");
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = contract;
    text.replace(text.find(from), from.size(), to);
    return spec(text);
  };
  expect_says(refusal(changed("row_number: row", "")), ErrorCode::kConfig, "spec.yaml:3:", "gives no 'row'");
  expect_says(refusal(changed("row_number: row", "row_number: rows")), ErrorCode::kConfig,
              "spec.yaml:13:", "no field 'rows'");
  expect_says(refusal(changed("row_number: row", "row_number: label")), ErrorCode::kConfig,
              "spec.yaml:13:", "must be int64");
  expect_says(refusal(changed("    label: {dtype: uint8, role: label}\n", "")), ErrorCode::kConfig,
              "spec.yaml:3:", "gives 'label', which the contract has not");
  write_file(scratch_ / "other.yaml", "version: 1\nsources: [{format: idy, files: {}}]\n" + contract);
  expect_says(refusal(scratch_ / "other.yaml"), ErrorCode::kConfig, "other.yaml:2:", "did you mean 'idx'");
}

TEST_F(Ingest, OverwritesNothing) {
  run(spec());
  const Columns before = read_columns(out());
  const Error error = error_of([&] { run(spec(), 1); });
  expect_says(error, ErrorCode::kUsage, "out", "holds a dataset");
  EXPECT_EQ(read_columns(out()), before);
}

IdxHeader parse(const std::string& text) {
  return parse_idx_header(std::as_bytes(std::span(text.data(), text.size())), "file");
}

TEST(IdxHeader, ReadsShapes) {
  const IdxHeader header = parse(idx_header(0x0E, {70'000, 3, 5}) + "data");
  EXPECT_EQ(header.dtype, DType::kFloat64);
  EXPECT_EQ(header.rows, 70'000U);
  EXPECT_EQ(header.shape, (std::vector<std::uint64_t>{3, 5}));
  EXPECT_EQ(header.bytes(), 16U);
  EXPECT_EQ(header.bytes_per_row(), 120U);
  EXPECT_EQ(parse(idx_header(8, {4'294'967'295U})).rows, 4'294'967'295U);
  EXPECT_EQ(parse(idx_header(8, {1, 2, 3, 4, 5, 6, 7, 8})).bytes(), IdxHeader::kMostBytes);
}

TEST(IdxHeader, RefusesWhatIsNone) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {std::string("\0\0\x08", 3), "ends at offset 3"},
      {std::string("\0\1\x08\1", 4), "no IDX file"},
      {std::string("\x1f\x8b\x08\0", 4), "no IDX file"},
      {idx_header(0x0A, {1}), "type 0x0a at offset 2"},
      {idx_header(8, {}), "0 dimensions"},
      {idx_header(8, {1, 1, 1, 1, 1, 1, 1, 1, 1}), "9 dimensions"},
      {idx_header(8, {5, 2}).substr(0, 11), "ends at offset 11, within its header of 12 bytes"},
      {idx_header(8, {5, 0}), "dimension of 0 at offset 8"},
      {idx_header(8, {5, 0xffffffff, 0xffffffff, 0xffffffff}), "more than 1 GiB (offset 8)"},
      {idx_header(0x0E, {1, 1 << 15, 1 << 15}), "more than 1 GiB (offset 12)"},
  };
  for (const auto& [text, message] : cases) {
    const Error error = error_of([&, text = text] { parse(text); });
    EXPECT_EQ(error.code(), ErrorCode::kData);
    EXPECT_EQ(error.where(), "file");
    EXPECT_NE(error.message().find(message), std::string::npos) << error.what() << " / " << message;
  }
}

/// The order of `rows` rows, shuffled in buckets of that size.
std::vector<std::uint32_t> shuffled(std::uint32_t rows, std::uint64_t seed, std::uint64_t bucket_bytes) {
  const ScratchDirectory scratch;
  RowShuffle shuffle(scratch / "buckets", rows, sizeof rows, seed, bucket_bytes);
  for (std::uint32_t row = 0; row < rows; ++row) shuffle.add(std::as_bytes(std::span(&row, 1)));
  std::vector<std::uint32_t> order;
  shuffle.drain([&](std::span<const std::byte> some, std::uint64_t count) {
    EXPECT_EQ(some.size(), count * sizeof rows);
    order.resize(order.size() + count);
    std::memcpy(order.data() + order.size() - count, some.data(), some.size());
  });
  return order;
}

TEST(RowShuffle, GivesEveryRowOnceInManyBuckets) {
  std::vector<std::uint32_t> order = shuffled(200'000, 9, 16'000);
  EXPECT_EQ(shuffled(200'000, 9, 16'000), order);
  std::sort(order.begin(), order.end());
  ASSERT_EQ(order.size(), 200'000U);
  for (std::uint32_t row = 0; row < order.size(); ++row) ASSERT_EQ(order[row], row);
}

TEST(RowShuffle, MakesEveryOrderEquallyOften) {
  // 24 orders of 4 rows over 2 buckets, 2400 seeds: chi-squared with 23 degrees of freedom is under 50 but
  // once in 1000.
  std::map<std::vector<std::uint32_t>, int> seen;
  for (std::uint64_t seed = 0; seed < 600; ++seed) ++seen[shuffled(3, seed, 12)];
  ASSERT_EQ(seen.size(), 6U);
  double chi_squared = 0;
  for (const auto& [order, count] : seen) chi_squared += (count - 100.0) * (count - 100.0) / 100.0;
  EXPECT_LT(chi_squared, 20);
}

TEST(DatasetWriter, WhatCannotBeRecordedIsNotAdded) {
  const ScratchDirectory directory;
  DatasetWriter::Plan plan;
  plan.out = directory.path();
  plan.contract = Contract::parse(YamlNode::parse(
      "version: 1\nfields: {x: {dtype: int8}}\nsplits: {by: fraction, train: 1}\n", "contract.yaml"));
  plan.rows = 5;
  plan.partitions = 2;
  plan.existing_partitions = 3;
  const std::vector<std::byte> column(5);
  const std::vector<std::span<const std::byte>> columns{column};
  DatasetWriter writer(plan);
  writer.append(columns, 5);
  writer.close();
  EXPECT_FALSE(std::filesystem::exists(directory / "part-00003.h5")) << "not before it is recorded";
  EXPECT_THROW(writer.publish([&] {
    EXPECT_TRUE(std::filesystem::exists(directory / "part-00004.h5"));
    throw Error(ErrorCode::kStorage, "no space left");
  }),
               Error);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

}  // namespace
}  // namespace muster::testing
