// ingest: CSV files to partitions, and one clear line with file:line for everything in them that is wrong.
#include <algorithm>
#include <cmath>

#include "data_loader/ingest/ingest.h"
#include "tests/data_loader/columns.h"
#include "tests/data_loader/order_cases.h"
#include "tests/data_loader/scratch_directory.h"

namespace muster::testing {
namespace {

constexpr const char* kContract =
    "contract:\n"
    "  version: 1\n"
    "  fields:\n"
    "    area: {dtype: float32, missing: indicator}\n"
    "    rooms: {dtype: int16}\n"
    "    when: {dtype: int64, role: time}\n"
    "    sold: {dtype: uint8, allowed: [0, 1], role: label}\n"
    "  splits: {by: fraction, train: 1}\n";

constexpr const char* kTable =
    "id,area,rooms,when,sold\n"
    "a,12.5,1,1970-01-01,yes\n"
    "\"b, c\",NA,2.0,1970-01-02,no\n"
    "d,,3,86401,no\n";

class IngestCsv : public ::testing::Test {
 protected:
  /// A spec of one source with these keys beside `format` and `file`.
  std::filesystem::path spec(const std::string& keys = "values: {sold: {yes: 1, no: 0}}",
                             const std::string& contract = kContract) {
    write_file(scratch_ / "spec.yaml", "version: 1\nsources:\n  - {format: csv, file: t.csv" +
                                           (keys.empty() ? "" : ", " + keys) + "}\n" + contract);
    return scratch_ / "spec.yaml";
  }

  IngestReport run(const std::string& table, const std::filesystem::path& spec, unsigned threads = 2) {
    write_file(scratch_ / "t.csv", table);
    std::filesystem::remove_all(out());
    log_.clear();
    IngestOptions options;
    options.spec = spec;
    options.out = out();
    options.threads = threads;
    options.log = [this](LogLevel, std::string_view line) { log_ += std::string(line) + "\n"; };
    return ingest(options);
  }

  /// What ingest says of a table, and that it leaves nothing.
  std::string refusal(ErrorCode code, const std::string& table, const std::filesystem::path& spec,
                      unsigned threads = 2) {
    const Error error = error_of([&] { run(table, spec, threads); });
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_TRUE(!std::filesystem::exists(out()) || std::filesystem::is_empty(out())) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }

  std::vector<double> column(const std::string& name) const {
    const Contract contract = Contract::load(out() / "contract.yaml");
    return numbers(contract.field(name).dtype, read_columns(out()).at(name));
  }

  std::filesystem::path out() const { return scratch_ / "out"; }
  bool logged(const std::string& part) const { return log_.find(part) != std::string::npos; }

  ScratchDirectory scratch_;
  std::string log_;
};

void expect_has(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in: " << text;
}

TEST_F(IngestCsv, ColumnsByNameWhateverElseTheFileHas) {
  const IngestReport report = run(kTable, spec());
  EXPECT_EQ(report.rows, 3U);
  EXPECT_EQ(column("rooms"), (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(column("when"), (std::vector<double>{0, 86400, 86401}));
  EXPECT_EQ(column("sold"), (std::vector<double>{1, 0, 0}));
  const std::vector<double> area = column("area");
  EXPECT_EQ(area[0], 12.5);
  EXPECT_TRUE(std::isnan(area[1]) && std::isnan(area[2]));
}

TEST_F(IngestCsv, ASpecInTheCurrentDirectory) {
  spec();
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(scratch_.path());
  const Result<IngestReport> report = attempt([&] { return run(kTable, "spec.yaml"); });
  std::filesystem::current_path(before);
  ASSERT_TRUE(report.ok()) << report.error().what();
  EXPECT_EQ(report.value().rows, 3U);
  EXPECT_NE(read_file(out() / "sources.json").find("\"t.csv\""), std::string::npos);
}

TEST_F(IngestCsv, ANamedPipeIsRefusedAndNotWaitedFor) {
  ASSERT_EQ(::mkfifo((scratch_ / "t.csv").c_str(), 0600), 0);
  IngestOptions options;
  options.spec = spec();
  options.out = out();
  expect_has(error_of([&] { ingest(options); }).what(), {"t.csv: is not a regular file"});
}

TEST_F(IngestCsv, OtherDialectsAndColumnsByNumber) {
  run("x\t12,5\t1\t5\tja\n",
      spec("delimiter: tab, decimal: ',', header: false, columns: {area: 2, rooms: 3, when: 4, sold: 5}, "
           "values: {sold: {ja: 1}}"));
  EXPECT_EQ(column("area"), (std::vector<double>{12.5}));
  run("A;Area (m2);Rooms;t;s\nx;-1;7;8;1\n",
      spec("delimiter: ';', missing: ['-1'], columns: {area: Area (m2), rooms: Rooms, when: t, sold: s}"));
  EXPECT_TRUE(std::isnan(column("area")[0]));
  EXPECT_EQ(column("rooms"), (std::vector<double>{7}));
}

TEST_F(IngestCsv, TextsOfOtherEncodingsBecomeUtf8) {
  const std::string contract =
      "contract:\n  version: 1\n  fields:\n    size: {dtype: int8}\n    town: {dtype: string, length: 8}\n"
      "  splits: {by: fraction, train: 1}\n";
  run("gr\xf6\xdf"
      "e,town\n1,Z\xfcrich\n2,caf\xe9\n",
      spec("encoding: latin1, columns: {size: größe}", contract));
  const std::vector<std::byte> towns = read_columns(out()).at("town");
  const std::string_view text(reinterpret_cast<const char*>(towns.data()), towns.size());
  EXPECT_EQ(text, std::string_view("Zürich\0café\0\0\0", 16));
  expect_has(refusal(ErrorCode::kData, "size,town\n1,\x81\n", spec("encoding: windows-1252", contract)),
             {"t.csv", "1 of 1 rows is wrong"});
  EXPECT_NE(log_.find("t.csv:2: '\\x81' is no text of the encoding, for 'town'"), std::string::npos) << log_;
  expect_has(refusal(ErrorCode::kConfig, kTable, spec("encoding: latin77", contract)),
             {"spec.yaml:3:", "latin77"});
  expect_has(refusal(ErrorCode::kConfig, kTable, spec("encoding: utf-16", contract)),
             {"spec.yaml:3:", "ASCII"});
}

TEST_F(IngestCsv, WrongRowsAreNamedByLineAndCounted) {
  const std::string table = std::string(kTable) + "e,1,x,5,yes\nf,1,2\ng,1,70000,5,yes\n\"h\"i,1,1,1,no\n";
  const std::string all = refusal(ErrorCode::kData, table, spec());
  expect_has(all, {"t.csv: 4 of 7 rows are wrong", "bad_rows: skip"});
  EXPECT_TRUE(logged("t.csv:5: 'x' is no int16 for 'rooms'")) << log_;
  EXPECT_TRUE(logged("t.csv:6: 3 fields, not 5")) << log_;
  EXPECT_TRUE(logged("t.csv:7: '70000' is no int16 for 'rooms'")) << log_;
  EXPECT_TRUE(logged("t.csv:8: field 1 goes on after its closing quote")) << log_;

  const IngestReport report = run(table, spec("bad_rows: skip, values: {sold: {yes: 1, no: 0}}"));
  EXPECT_EQ(report.rows, 3U);
  EXPECT_TRUE(logged("4 of 7 rows are wrong and left out")) << log_;
  EXPECT_EQ(column("rooms"), (std::vector<double>{1, 2, 3}));
}

TEST_F(IngestCsv, WrongRowsAreToldAFewOfEachKind) {
  std::string table = kTable;
  for (int i = 0; i < 50; ++i) table += "e,1,x,5,yes\n";
  for (int i = 0; i < 2; ++i) table += "f,1\n";
  table += "g,,1,5,yes\n\"h\"i,1,1,1,no\n";
  expect_has(refusal(ErrorCode::kData, table, spec()), {"t.csv: "});
  EXPECT_TRUE(logged("t.csv:7: 'x' is no int16 for 'rooms' (and 47 more like it)")) << log_;
  EXPECT_FALSE(logged("t.csv:8:")) << log_;
  EXPECT_TRUE(logged("t.csv:56: 2 fields, not 5\n")) << log_;
  EXPECT_TRUE(logged("t.csv:58: field 1 goes on after its closing quote")) << log_;
}

TEST_F(IngestCsv, RowsOutsideTheContractAreWrongOnesWhereTheSpecSaysSo) {
  const std::string contract =
      "contract:\n  version: 1\n  fields:\n    id: {dtype: int64}\n    size: {dtype: float32, range: [0, "
      "10], missing: "
      "indicator}\n    town: {dtype: string, length: 8, allowed: [Rome, Oslo]}\n  splits: {by: fraction, "
      "train: 1}\n";
  std::string table = "id,size,town\n";
  std::vector<double> good;
  for (int i = 0; i < 300'000; ++i) {
    const bool wrong = i % 1000 == 500 || i % 1000 == 501;
    table += fmt::format("{},{},{}\n", i,
                         i % 1000 == 500 ? "-1"
                         : i % 7 == 0    ? ""
                                         : "5",
                         i % 1000 == 501 ? "Bonn" : "Oslo");
    if (!wrong) good.push_back(i);
  }
  EXPECT_EQ(run(table, spec("bad_rows: skip", contract)).rows, 300'000U) << "that is for validate to say";
  for (const unsigned threads : {1U, 3U}) {
    EXPECT_EQ(run(table, spec("bad_rows: skip, outside: bad", contract), threads).rows, good.size());
    EXPECT_EQ(column("id"), good);
    EXPECT_TRUE(logged("t.csv:502: -1 is below the least 'size', 0\n")) << log_;
    EXPECT_TRUE(logged("t.csv:2502: -1 is below the least 'size', 0 (and 297 more like it)")) << log_;
    EXPECT_TRUE(logged("t.csv:503: 'Bonn' is no allowed 'town'")) << log_;
    EXPECT_TRUE(logged("600 of 300,000 rows are wrong and left out")) << log_;
  }
  expect_has(refusal(ErrorCode::kData, table, spec("outside: bad", contract)),
             {"600 of 300,000 rows are wrong; mend them"});
}

TEST_F(IngestCsv, RepeatedRowsAreWrongOnesWhereTheSpecSaysSo) {
  const std::string contract =
      "contract:\n  version: 1\n  fields:\n    id: {dtype: int64}\n    town: {dtype: string, length: 8}\n  "
      "splits: {by: "
      "fraction, train: 1}\n";
  std::string table = "id,noise,town\n";
  std::vector<double> good;
  for (int i = 0; i < 200'000; ++i) {
    const bool repeats = i % 1000 == 999;  // what no field reads may differ
    const int id = repeats ? i - 777 : i;
    table += fmt::format("{},{},{}\n", id, i, id % 2 == 0 ? "Rome" : "Oslo");
    if (!repeats) good.push_back(i);
  }
  EXPECT_EQ(run(table, spec("bad_rows: skip", contract)).rows, 200'000U);
  for (const unsigned threads : {1U, 3U}) {
    EXPECT_EQ(run(table, spec("bad_rows: skip, repeated: bad", contract), threads).rows, good.size());
    EXPECT_EQ(column("id"), good);
    EXPECT_TRUE(logged("t.csv:1001: repeats an earlier row in every field\n")) << log_;
    EXPECT_TRUE(logged("200 of 200,000 rows are wrong and left out")) << log_;
  }
  expect_has(refusal(ErrorCode::kData, table, spec("repeated: bad", contract)),
             {"200 of 200,000 rows are wrong; mend them"});
  for (const char* const ignored : {"units: {town: EUR}", "time_format: {town: '%d.%m.%Y'}"})
    expect_has(refusal(ErrorCode::kConfig, table, spec(ignored, contract)), {"'town' is a text"});
}

/// A table of several batches, with what is right and wrong in it.
struct LongTable {
  std::string text = "id,note,value\n";
  std::vector<double> ids;         ///< of the good rows
  std::vector<std::string> lines;  ///< what is to be said of the first wrong ones
  std::uint64_t wrong = 0;

  explicit LongTable(Edges& edges) {
    RandomStream random(11);
    std::uint64_t line = 2;
    for (int i = 0; i < 90'000; ++i) {
      const std::uint64_t kind = random.below(40);
      const std::string note =
          kind < 3 ? "\"two\nlines, \"\"quoted\"\"\"" : std::string(random.below(90), 'n');
      const bool bad = random.below(2000) == 0;
      edges.hit("a wrong row after one of two lines", bad && line > static_cast<std::uint64_t>(i) + 2);
      text += fmt::format("{},{},{}{}", i, note, i % 100, bad ? "x" : "") + (kind % 2 == 0 ? "\n" : "\r\n");
      if (!bad) ids.push_back(i);
      if (bad && ++wrong <= 3)
        lines.push_back(fmt::format("t.csv:{}: '{}x' is no int8 for 'value'", line, i % 100));
      line += kind < 3 ? 2 : 1;
      edges.hit("blank lines between", kind == 7);
      if (kind == 7) text += "\n\r\n";
      line += kind == 7 ? 2 : 0;
    }
    edges.hit("more wrong rows than are shown", wrong > 3);
    lines.back() += fmt::format(" (and {} more like it)", wrong - 3);
  }
};

constexpr const char* kLongContract =
    "contract:\n  version: 1\n  fields:\n    id: {dtype: int64}\n    note: {dtype: string, length: 96, "
    "missing: "
    "impute}\n    value: {dtype: int8}\n  splits: {by: fraction, train: 1}\n";

TEST_F(IngestCsv, TheSameForAnyNumberOfThreads) {
  Edges edges;
  const LongTable table(edges);
  edges.expect_all_hit();
  ASSERT_GT(table.text.size(), std::size_t{9} << 19) << "slots are to be used again";
  std::string first;
  for (const unsigned threads : {1U, 2U, 3U, 8U}) {
    const IngestReport report = run(table.text, spec("bad_rows: skip", kLongContract), threads);
    EXPECT_EQ(report.rows, table.ids.size());
    EXPECT_EQ(column("id"), table.ids) << threads;
    const std::string bytes = read_file(out() / "part-00000.h5");
    EXPECT_TRUE(first.empty() || bytes == first) << threads;
    first = bytes;
    for (const bool refuse : {false, true}) {
      if (refuse) {
        expect_has(refusal(ErrorCode::kData, table.text, spec("", kLongContract), threads),
                   {fmt::format("{} of 90,000 rows are wrong;", table.wrong)});
      }
      std::size_t at = 0;
      for (const std::string& line : table.lines) {
        at = log_.find(line + "\n", at);
        EXPECT_NE(at, std::string::npos) << threads << ": no '" << line << "', or not in order, in: " << log_;
      }
      EXPECT_EQ(std::count(log_.begin(), log_.end(), '\n'), refuse ? 3 : 5);
    }
  }
}

TEST_F(IngestCsv, WhatEndsTheFileEndsAllThreads) {
  Edges edges;
  const LongTable table(edges);
  const auto lines = static_cast<std::size_t>(std::count(table.text.begin(), table.text.end(), '\n'));
  for (const char* const keys : {"bad_rows: skip", ""}) {
    expect_has(refusal(ErrorCode::kData, table.text + "1,\"open,2\n3,a,4\n", spec(keys, kLongContract), 3),
               {fmt::format("t.csv:{}: the quote that field 2 starts with is never closed", lines + 1)});
  }
}

/// Opens the file as ingest does.
std::unique_ptr<RowSource> open_source(const std::filesystem::path& directory,
                                       const std::vector<Field>& fields) {
  IngestContext context;
  context.file = directory / "t.csv";
  context.fields = fields;
  context.threads = 3;
  const YamlNode spec = YamlNode::parse("{format: csv, file: t.csv}", "spec");
  for (const char* key : {"format", "file"}) spec.require(key);
  return ingest_formats().get("csv").open(spec, context);
}

TEST_F(IngestCsv, ASourceCanBeGivenUpOrChangeMeanwhile) {
  const std::vector<Field> fields =
      Contract::parse(YamlNode::parse(kLongContract, "contract").require("contract")).fields();
  std::vector<std::vector<std::byte>> columns(fields.size());
  std::string good = "id,note,value\n";
  for (int i = 0; i < 50'000; ++i) good += fmt::format("{},{},1\n", i, std::string(90, 'x'));
  write_file(scratch_ / "t.csv", good);
  open_source(scratch_.path(), fields)->read(10, columns);  // its threads are far from the file's end
  EXPECT_EQ(numbers(DType::kInt64, columns[0]).back(), 9);
  const auto source = open_source(scratch_.path(), fields);
  write_file(scratch_ / "t.csv", good.substr(0, good.find('\n', good.size() / 2) + 1));
  expect_has(error_of([&] { source->read(50'000, columns); }).what(),
             {"t.csv", "fewer rows than a moment ago"});
  write_file(scratch_ / "t.csv", good);
  const auto grown = open_source(scratch_.path(), fields);
  write_file(scratch_ / "t.csv", good + "50000,more,1\n");
  expect_has(error_of([&] { grown->read(50'000, columns); }).what(),
             {"t.csv", "more rows than a moment ago"});
}

TEST_F(IngestCsv, AQuoteThatIsNeverClosedIsNoRowToSkip) {
  const std::string all = refusal(ErrorCode::kData, std::string(kTable) + "\"e,1,2,5,yes\nf,1,2,5,yes\n",
                                  spec("bad_rows: skip, values: {sold: {yes: 1, no: 0}}"));
  expect_has(all, {"t.csv:5: the quote that field 1 starts with is never closed"});
}

TEST_F(IngestCsv, ManyWrongRowsAreCountedAndTheFirstOnesShown) {
  std::string table = "area,rooms,when,sold\n";
  for (int i = 0; i < 500; ++i) table += "1,x,1,1\n";
  expect_has(refusal(ErrorCode::kData, table, spec("")), {"500 of 500 rows are wrong"});
  EXPECT_EQ(std::count(log_.begin(), log_.end(), '\n'), 3);
  EXPECT_TRUE(logged("t.csv:4: 'x' is no int16 for 'rooms' (and 497 more like it)")) << log_;
}

TEST_F(IngestCsv, AForbiddenMissingValueIsAWrongRow) {
  refusal(ErrorCode::kData, "area,rooms,when,sold\n1,,1,1\n", spec(""));
  EXPECT_TRUE(logged("t.csv:2: 'rooms' is missing, which the contract forbids")) << log_;
}

TEST_F(IngestCsv, ColumnsThatAreNotThere) {
  expect_has(refusal(ErrorCode::kConfig, "aera,rooms,when,sold\n", spec("")),
             {"no column 'area'", "did you mean 'aera'", "columns: {area:"});
  expect_has(refusal(ErrorCode::kConfig, "area,area,rooms,when,sold\n", spec("")),
             {"two columns 'area'", "by number"});
  expect_has(refusal(ErrorCode::kConfig, "area,rooms,when,sold\n", spec("columns: {area: 9}")),
             {"has 4 columns", "9"});
  expect_has(refusal(ErrorCode::kConfig, "1,2,3,4\n", spec("header: false")),
             {"no header", "columns: {area: 1}"});
  expect_has(refusal(ErrorCode::kData, "", spec("")), {"is empty"});
  expect_has(refusal(ErrorCode::kData, "\x89HDF\r\n\x1a\n,x\n", spec("")), {"no UTF-8 text"});
  expect_has(refusal(ErrorCode::kData, std::string("a\0r\0", 4) + "\n", spec("")),
             {"no UTF-8 text"});  // UTF-16
  expect_has(refusal(ErrorCode::kConfig, "area,rooms,when,sold\n", spec("")), {"no rows"});
}

TEST_F(IngestCsv, FaultsOfTheSpecHaveAPlace) {
  const auto place = [&](const std::string& keys) { return refusal(ErrorCode::kConfig, kTable, spec(keys)); };
  expect_has(place("delimiter: ab"), {"spec.yaml:3:", "one character"});
  expect_has(place("columns: {aera: x}"), {"spec.yaml:3:", "no field 'aera'", "did you mean 'area'"});
  expect_has(place("values: {solt: {a: 1}}"), {"no field 'solt'"});
  expect_has(place("bad_rows: drop"), {"`refuse` or `skip`"});
  expect_has(place("outside: drop"), {"`keep` or `bad`"});
  expect_has(place("repeated: drop"), {"`keep` or `bad`"});
  expect_has(place("thousands: ''"), {"one character that is no digit"});
  expect_has(place("thousands: '.,'"), {"one character that is no digit"});
  expect_has(place("decimal: ',', thousands: ','"), {"is the decimal sign too"});
  expect_has(place("units: {sizes: EUR}"), {"the contract has no field 'sizes'"});
  expect_has(place("time_format: {when: '%d.%m'}"), {"a day, a month and a year"});
  expect_has(place("heder: true"), {"heder", "header"});
  expect_has(refusal(ErrorCode::kConfig, kTable,
                     spec("",
                          "contract:\n  version: 1\n  fields: {area: {dtype: float32, shape: [2]}}\n  "
                          "splits: {by: fraction, train: 1}\n")),
             {"'area' is an array"});
}

TEST_F(IngestCsv, AFileThatIsNotThere) {
  write_file(scratch_ / "spec.yaml",
             "version: 1\nsources: [{format: csv, file: nowhere.csv}]\n" + std::string(kContract));
  IngestOptions options;
  options.spec = scratch_ / "spec.yaml";
  options.out = out();
  const Error error = error_of([&] { ingest(options); });
  EXPECT_EQ(error.code(), ErrorCode::kStorage);
  expect_has(error.what(), {"nowhere.csv", "No such file"});
}

}  // namespace
}  // namespace muster::testing
