// ingest: texts to streams of tokens, and one line with file:line:column for what is none.
#include <zlib.h>

#include "data_loader/dataset/validate.h"
#include "data_loader/ingest/ingest.h"
#include "tests/data_loader/columns.h"
#include "tests/data_loader/scratch_directory.h"

namespace muster::testing {
namespace {

class IngestText : public ::testing::Test {
 protected:
  /// A spec whose sources have these keys beside `format`.
  std::filesystem::path spec(const std::vector<std::string>& sources, const std::string& dtype = "uint8",
                             const std::string& rest = "") {
    std::string text = "version: 1\nsources:\n";
    for (const std::string& keys : sources) text += "  - {format: text, " + keys + "}\n";
    write_file(scratch_ / "spec.yaml",
               text + rest + "contract:\n  version: 1\n  fields:\n    t: {dtype: " + dtype +
                   ", window: {length: 2, stride: 2}}\n  splits: {by: order, train: 1}\n");
    return scratch_ / "spec.yaml";
  }

  IngestReport run(const std::filesystem::path& spec, std::optional<std::uint64_t> shuffle = {}) {
    std::filesystem::remove_all(out());
    IngestOptions options;
    options.spec = spec;
    options.out = out();
    options.shuffle_seed = shuffle;
    return ingest(options);
  }

  std::string refusal(ErrorCode code, const std::filesystem::path& spec) {
    const Error error = error_of([&] { run(spec); });
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_TRUE(!std::filesystem::exists(out()) || std::filesystem::is_empty(out())) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }

  std::vector<double> tokens() const {
    const Contract contract = Contract::load(out() / "contract.yaml");
    return numbers(contract.field("t").dtype, read_columns(out()).at("t"));
  }

  std::filesystem::path out() const { return scratch_ / "out"; }

  ScratchDirectory scratch_;
};

void expect_has(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in: " << text;
}

TEST_F(IngestText, CharactersOfAPlainOrPackedFile) {
  write_file(scratch_ / "t.txt",
             "\xEF\xBB\xBF"
             "hé\r\n€");
  const std::vector<double> expected = {'h', 0xE9, '\r', '\n', 0x20AC};
  const IngestReport report = run(spec({"file: t.txt"}, "uint16"));
  EXPECT_EQ(report.rows, 5U);
  EXPECT_TRUE(report.tokens);
  EXPECT_EQ(tokens(), expected);
  gzFile file = ::gzopen((scratch_ / "t.gz").c_str(), "wb");
  const std::string text = read_file(scratch_ / "t.txt");
  ::gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  ::gzclose(file);
  run(spec({"file: t.gz, field: t, unit: characters, encoding: utf-8"}, "int32"));
  EXPECT_EQ(tokens(), expected);
}

TEST_F(IngestText, BytesAreTakenAsTheyAre) {
  write_file(scratch_ / "t.txt", "\xEF\xBB\xBF\xFFz");
  run(spec({"file: t.txt, unit: bytes"}));
  EXPECT_EQ(tokens(), (std::vector<double>{0xEF, 0xBB, 0xBF, 0xFF, 'z'}));
}

TEST_F(IngestText, OtherEncodingsBecomeCharacters) {
  write_file(scratch_ / "t.txt", "\xE9\n\xFC");
  run(spec({"file: t.txt, encoding: latin1"}));
  EXPECT_EQ(tokens(), (std::vector<double>{0xE9, '\n', 0xFC}));
}

TEST_F(IngestText, EntriesOfAVocabulary) {
  write_file(scratch_ / "v.txt", "the\nthere\n \n\\n\n\\\\\n\\t\n");
  write_file(scratch_ / "t.txt", "there the\n\\\tthe");
  run(spec({"file: t.txt, unit: vocabulary, vocabulary: v.txt"}));
  EXPECT_EQ(tokens(), (std::vector<double>{1, 2, 0, 3, 4, 5, 0}));
  write_file(scratch_ / "t.txt", "the€the");
  run(spec({"file: t.txt, unit: vocabulary, vocabulary: v.txt, unknown: 250"}));
  EXPECT_EQ(tokens(), (std::vector<double>{0, 250, 0}));
}

TEST_F(IngestText, LongTextsComeInPieces) {
  std::string text;
  std::vector<double> expected;
  for (int i = 0; i < 200'000; ++i) {  // 3 bytes each: pieces of 256 KiB end inside characters
    text += "€";
    expected.push_back(0x20AC);
  }
  write_file(scratch_ / "t.txt", text);
  run(spec({"file: t.txt"}, "uint16"));
  EXPECT_EQ(tokens(), expected);
}

TEST_F(IngestText, EachTextIsAPartitionSoThatNoWindowCrosses) {
  write_file(scratch_ / "a.txt", "abcdef");
  write_file(scratch_ / "b.txt", "");
  write_file(scratch_ / "c.txt", "ghi");
  const std::vector<std::string> sources = {"file: a.txt", "file: b.txt", "file: c.txt"};
  EXPECT_EQ(run(spec(sources)).partitions, 3U);
  EXPECT_EQ(rows_of_partitions(out()), (std::vector<std::uint64_t>{6, 0, 3}));
  ValidateOptions options;
  options.directory = out();
  const ValidateReport report = validate(options);
  EXPECT_EQ(report.rows, 3U) << "abc cde | ghi";
  EXPECT_EQ(report.tokens_left_over.at("t"), 1U);
  EXPECT_EQ(run(spec(sources, "uint8", "partitions: 2\n")).partitions, 2U);
  EXPECT_EQ(rows_of_partitions(out()), (std::vector<std::uint64_t>{5, 4}));
}

TEST_F(IngestText, AStreamIsNeverShuffled) {
  write_file(scratch_ / "t.txt", "abcdef");
  const Error error = error_of([&] { run(spec({"file: t.txt"}), 3); });
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_NE(error.message().find("tear the stream"), std::string::npos) << error.what();
}

TEST_F(IngestText, FaultsNameTheirPlace) {
  write_file(scratch_ / "t.txt", "ab\nc€\n");
  expect_has(refusal(ErrorCode::kData, spec({"file: t.txt"})), {"t.txt:2:2", "'€' is U+20AC", "wider dtype"});
  write_file(scratch_ / "t.txt",
             "ab\nc\xE9"
             "def\n");
  expect_has(refusal(ErrorCode::kData, spec({"file: t.txt"})), {"t.txt:2:2", "no UTF-8 text", "encoding"});
  write_file(scratch_ / "t.txt", "ab\xE2\x82");  // cut off inside a character
  expect_has(refusal(ErrorCode::kData, spec({"file: t.txt"})), {"t.txt:1:3", "no UTF-8 text"});
  write_file(scratch_ / "t.txt", "good\n\x81\xFF bad\n");
  expect_has(refusal(ErrorCode::kData, spec({"file: t.txt, encoding: euc-jp"}, "uint16")),
             {"t.txt:2:1", "no text of the encoding"});
  write_file(scratch_ / "v.txt", "a\nb\n");
  write_file(scratch_ / "t.txt", "ab\nb");
  const std::string by_vocabulary = "file: t.txt, unit: vocabulary, vocabulary: v.txt";
  expect_has(refusal(ErrorCode::kData, spec({by_vocabulary})),
             {"t.txt:1:3", "no entry of the vocabulary fits"});
  for (const auto& [vocabulary, what] :
       std::map<std::string, std::string>{{"a\n\nb\n", "v.txt:2: an empty line"},
                                          {"a\nb\na\n", "'a' is on line 1"},
                                          {"a\n\\x\n", "v.txt:2: after a backslash"},
                                          {"a\n\xFF\n", "v.txt:2: "},
                                          {"", "has no entry"}}) {
    write_file(scratch_ / "v.txt", vocabulary);
    expect_has(refusal(ErrorCode::kData, spec({by_vocabulary})), {what});
  }
  write_file(scratch_ / "t.txt", "");
  expect_has(refusal(ErrorCode::kConfig, spec({"file: t.txt"})), {"nothing to ingest"});
  expect_has(refusal(ErrorCode::kStorage, spec({"file: absent.txt"})), {"absent.txt"});
}

TEST_F(IngestText, FaultsOfTheSpecNameTheirPlace) {
  write_file(scratch_ / "t.txt", "abc");
  std::string many;
  for (int i = 0; i < 300; ++i) many += fmt::format("w{}\n", i);
  write_file(scratch_ / "v.txt", many);
  const auto refused = [&](const std::string& keys, const std::string& what,
                           const std::string& dtype = "uint8") {
    expect_has(refusal(ErrorCode::kConfig, spec({keys}, dtype)), {"spec.yaml:3:", what});
  };
  refused("field: t", "'file' is missing");
  refused("file: t.txt, unit: words", "no unit 'words'");
  refused("file: t.txt, field: tt", "no field 'tt' (did you mean 't'?)");
  refused("file: t.txt, unit: bytes, encoding: latin1", "as they are");
  refused("file: t.txt, encoding: latin-none", "no encoding 'latin-none'");
  refused("file: t.txt, unit: bytes", "beyond int8", "int8");
  refused("file: t.txt, unit: vocabulary", "'vocabulary' is missing");
  refused("file: t.txt, unit: vocabulary, vocabulary: v.txt", "has 300 entries, more than uint8");
  refused("file: t.txt, unit: vocabulary, vocabulary: v.txt, unknown: 256", "does not fit in uint8");
  refused("file: t.txt, vocabulary: v.txt", "unknown key 'vocabulary'");
}

}  // namespace
}  // namespace muster::testing
