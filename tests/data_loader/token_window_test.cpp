// Windows of tokens against their definition, element by element: the arithmetic, HDF5 files of any chunks,
// and every block of a validated dataset.
#include "data_loader/contract/token_window.h"

#include <gtest/gtest.h>

#include <fstream>

#include "data_loader/dataset/dataset.h"
#include "data_loader/dataset/validate.h"
#include "tests/data_loader/partition_cases.h"
#include "tests/data_loader/scratch_directory.h"

namespace muster::testing {
namespace {

/// One random stream and how it is cut.
struct Case {
  TokenWindow window;
  std::uint64_t tokens = 0;
  std::uint32_t chunk = 1;
  DType dtype = DType::kUInt8;
  Codec codec = Codec::kNone;

  Field field() const {
    Field field = make_field("stream/tokens", dtype, {window.width()});
    field.window = window;
    return field;
  }
};

Case random_case(RandomStream& random) {
  constexpr std::array<DType, 4> kTypes = {DType::kUInt8, DType::kInt16, DType::kUInt32, DType::kInt64};
  Case made;
  made.window.length = 1 + random.below(20);
  const std::array<std::uint64_t, 4> strides = {1, made.window.length, made.window.width(),
                                                1 + random.below(made.window.width())};
  made.window.stride = strides[random.below(strides.size())];
  const std::uint64_t exact = made.window.span(1 + random.below(60));
  made.tokens = random.below(4) == 0 ? random.below(made.window.width() + 1) : exact + random.below(3);
  made.chunk = static_cast<std::uint32_t>(1 + random.below(70));
  made.dtype = kTypes[random.below(kTypes.size())];
  made.codec = random.below(2) == 0 ? Codec::kNone : Codec::kGzip;
  return made;
}

/// Rows [first, first + rows) token by token, as contract.h defines them.
std::vector<std::byte> by_definition(const Case& some, const std::vector<std::byte>& stream,
                                     std::uint64_t first, std::uint64_t rows) {
  std::vector<std::byte> out;
  const std::size_t size = size_of(some.dtype);
  for (std::uint64_t row = first; row < first + rows; ++row) {
    for (std::uint64_t i = 0; i <= some.window.length; ++i) {
      const std::size_t token = row * some.window.stride + i;
      for (std::size_t byte = 0; byte < size; ++byte) out.push_back(stream.at(token * size + byte));
    }
  }
  return out;
}

std::vector<std::byte> write_stream(const Case& some, const std::filesystem::path& path, std::uint64_t seed) {
  if (some.tokens > 0)
    return write_random(path, {some.field().stored()}, some.tokens, some.chunk, some.codec, {17}, seed)[0];
  PartitionWriter(path, {some.field().stored()}, some.chunk, some.codec).close();
  return {};
}

TEST(TokenWindowTest, RowsAreTheWholeWindows) {
  for (std::uint64_t length = 1; length <= 6; ++length) {
    for (std::uint64_t stride = 1; stride <= length + 1; ++stride) {
      const TokenWindow window{length, stride};
      for (std::uint64_t tokens = 0; tokens < 40; ++tokens) {
        std::uint64_t rows = 0;
        while (rows * stride + length < tokens) ++rows;  // the last token of row `rows` is there
        ASSERT_EQ(window.rows(tokens), rows) << length << " " << stride << " " << tokens;
        const std::uint64_t used = rows == 0 ? 0 : (rows - 1) * stride + length + 1;
        ASSERT_EQ(window.left_over(tokens), tokens - used);
      }
    }
  }
}

TEST(TokenWindowTest, AFilesRowsAreItsWindowsWhereverChunksEnd) {
  const ScratchDirectory scratch;
  std::map<std::string, int> hit;
  RandomStream random(random_key(3, Purpose::kGenerate, {}));
  for (int i = 0; i < 150; ++i) {
    const Case some = random_case(random);
    const auto path = scratch / fmt::format("{}.h5", i);
    const auto stream = write_stream(some, path, static_cast<std::uint64_t>(i));
    PartitionFile file(path);
    const Field field = some.field();
    const std::uint64_t rows = file.check_field(field);
    ASSERT_EQ(rows, some.window.rows(some.tokens));
    for (int read = 0; read < 8; ++read) {
      const std::uint64_t first = random.below(rows + 1);
      const std::uint64_t count = read == 0 ? rows - first : random.below(rows - first + 1);
      ASSERT_EQ(read_all(file, field, first, count), by_definition(some, stream, first, count))
          << some.window.length << " " << some.window.stride << " of " << some.tokens << " in " << some.chunk;
      const std::uint64_t begin = first * some.window.stride;
      const std::uint64_t end = begin + some.window.span(count);
      hit["a read crosses chunks"] += count > 0 && begin / some.chunk != (end - 1) / some.chunk ? 1 : 0;
      hit["a read of one row"] += count == 1 ? 1 : 0;
      hit["a read of no row"] += count == 0 ? 1 : 0;
    }
    EXPECT_THROW(read_all(file, field, rows, 1), Error);
    hit["overlap"] += some.window.stride < some.window.length ? 1 : 0;
    hit["stride 1"] += some.window.stride == 1 ? 1 : 0;
    hit["neighbours share a token"] += some.window.stride == some.window.length ? 1 : 0;
    hit["neighbours share none"] += some.window.stride == some.window.width() ? 1 : 0;
    hit["too short"] += rows == 0 ? 1 : 0;
    hit["empty"] += some.tokens == 0 ? 1 : 0;
    hit["nothing left over"] += rows > 0 && some.window.left_over(some.tokens) == 0 ? 1 : 0;
    hit["tokens left over"] += rows > 0 && some.window.left_over(some.tokens) > 0 ? 1 : 0;
  }
  EXPECT_EQ(hit.size(), 11U);
  for (const auto& [edge, times] : hit) {
    std::cout << edge << ": " << times << "\n";
    EXPECT_GT(times, 0) << edge;
  }
}

TEST(TokenWindowTest, BlocksOfADatasetAreItsWindows) {
  std::map<std::string, int> hit;
  RandomStream random(random_key(4, Purpose::kGenerate, {}));
  for (int i = 0; i < 40; ++i) {
    const ScratchDirectory scratch;
    Case some = random_case(random);
    some.tokens += some.window.width();  // one row at least
    write_file(
        scratch / "contract.yaml",
        fmt::format(
            "version: 1\nfields:\n  t: {{path: stream/tokens, dtype: {}, window: {{length: {}, stride: "
            "{}}}}}\nsplits: {{by: order, train: 1}}\n",
            to_string(some.dtype), some.window.length, some.window.stride));
    const std::uint64_t partitions = 1 + random.below(3);
    std::vector<std::vector<std::byte>> streams;
    std::uint64_t left_over = 0;
    for (std::uint64_t p = 0; p < partitions; ++p) {
      streams.push_back(write_stream(some, scratch / fmt::format("{}.h5", p), 10 * i + p));
      left_over += some.window.left_over(some.tokens);
    }
    ValidateOptions options;
    options.directory = scratch.path();
    options.block_rows = random.below(3) == 0 ? 0 : static_cast<std::uint32_t>(1 + random.below(9));
    const ValidateReport report = validate(options);
    ASSERT_TRUE(report.faults.empty()) << report.faults.front().what();
    EXPECT_EQ(report.rows, partitions * some.window.rows(some.tokens));
    EXPECT_EQ(report.tokens_left_over.at("t"), left_over);
    const Dataset dataset = Dataset::open(scratch.path(), "");
    const auto reader = dataset.make_reader();
    const Field& field = dataset.contract().fields()[0];
    for (std::uint32_t b = 0; b < reader->blocks().size(); ++b) {
      const Block& block = reader->blocks()[b];
      std::vector<std::byte> values(block.rows * field.bytes_per_row());
      reader->read(b, 0, values);
      ASSERT_EQ(values, by_definition(some, streams[block.partition], block.first_row, block.rows));
      hit["a block after the first"] += block.first_row > 0 ? 1 : 0;
      hit["a block of one row"] += block.rows == 1 ? 1 : 0;
    }
    hit["blocks by the chunk"] += options.block_rows == 0 && some.chunk / some.window.stride >= 16 ? 1 : 0;
    hit["tokens left over"] += left_over > 0 ? 1 : 0;
  }
  EXPECT_EQ(hit.size(), 4U);
  for (const auto& [edge, times] : hit) {
    std::cout << edge << ": " << times << "\n";
    EXPECT_GT(times, 0) << edge;
  }
}

TEST(TokenWindowTest, AnotherTokenIsAnotherDataset) {
  const ScratchDirectory scratch;
  const Case some{{4, 4}, 41, 16, DType::kUInt8, Codec::kNone};
  write_file(scratch / "contract.yaml",
             "version: 1\nfields: {t: {path: stream/tokens, dtype: uint8, window: {length: 4}}}\n"
             "splits: {by: order, train: 1}\n");
  ValidateOptions options;
  options.directory = scratch.path();
  write_stream(some, scratch / "0.h5", 1);
  const auto first = validate(options).manifest.fingerprint();
  write_stream(some, scratch / "0.h5", 2);
  EXPECT_NE(validate(options).manifest.fingerprint(), first);
}

TEST(TokenWindowTest, ADatasetThatIsNoStreamIsRefused) {
  const ScratchDirectory scratch;
  write_random(scratch / "0.h5", {make_field("t", DType::kUInt8, {5})}, 20, 16, Codec::kNone, {20});
  Field field = make_field("t", DType::kUInt8, {5});
  field.window = TokenWindow{4, 4};
  PartitionFile file(scratch / "0.h5");
  const Error error = error_of([&] { file.check_field(field); });
  EXPECT_EQ(error.code(), ErrorCode::kData);
  EXPECT_SAYS(error, "has [5] per row, the contract says one number per row: a stream of tokens");
}

TEST(TokenWindowTest, ValidateNamesTheWindowWithAForbiddenTokenAndStreamsThatAreTooShort) {
  const ScratchDirectory scratch;
  write_file(scratch / "contract.yaml",
             "version: 1\nfields: {t: {dtype: uint8, range: [0, 9], window: {length: 4, stride: 4}}}\n"
             "splits: {by: order, train: 1}\n");
  const auto put = [&](const char* name, std::vector<std::uint8_t> tokens) {
    PartitionWriter writer(scratch / name, {make_field("t", DType::kUInt8)}, 16, Codec::kNone);
    const std::vector<std::span<const std::byte>> columns = {std::as_bytes(std::span(tokens))};
    writer.append(columns, tokens.size());
    writer.close();
  };
  put("0.h5", {1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1});
  put("1.h5", {1, 2, 3});
  ValidateOptions options;
  options.directory = scratch.path();
  ValidateReport report = validate(options);
  EXPECT_TRUE(report.faults.empty());
  EXPECT_EQ(report.rows, 2U);
  EXPECT_EQ(report.tokens_left_over.at("t"), 2U + 3U);
  EXPECT_EQ(report.to_json().at("tokens_left_over"), Json::parse(R"({"t": 5})"));
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_NE(report.warnings[0].find("1.h5:t: has 3 tokens, too few for a window of 5"), std::string::npos);
  put("0.h5", {1, 2, 3, 4, 5, 6, 17, 8, 9, 0, 1});
  report = validate(options);
  ASSERT_EQ(report.faults.size(), 1U);
  EXPECT_SAYS(report.faults[0], "0.h5:t[1]");
  EXPECT_SAYS(report.faults[0], "value 2 of the row: 17 is above the greatest 't', 9");
}

}  // namespace
}  // namespace muster::testing
