// Rows from lines of JSON and cells of CSV: taken as the contract says, or refused by name.
#include "data_loader/ingest/text_row.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "data_loader/ingest/json_row.h"
#include "data_loader/ingest/line_reader.h"
#include "tests/data_loader/error_of.h"
#include "tests/data_loader/random_columns.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

constexpr const char* kFields =
    "  amount: {dtype: float32, range: [0, 100], missing: impute}\n"
    "  count: {dtype: int8, missing: indicator, missing_value: -1}\n"
    "  member: {dtype: uint8, allowed: [0, 1]}\n"
    "  when: {dtype: int64, role: time, transform: dates}\n"
    "  shop: {dtype: string, length: 4, allowed: [Rome, Oslo], missing: impute}\n"
    "  image: {dtype: uint8, shape: [2, 2]}\n"
    "  score: {dtype: float64, missing: drop}\n";

constexpr const char* kGood =
    R"({"amount": 1.5, "count": 3, "member": true, "when": "1970-01-02", "shop": "Rome",
        "image": [[1, 2], [3, 255]], "score": -2, "other": [1]})";

std::string take(TextRow& row, const std::string& text) {
  const Result<Json> object = parse_json_line(text);
  return object.ok() ? row.take(object.value()) : object.error().message();
}

TEST(TextRow, TakesAJsonObject) {
  TextRow row(contract_of(kFields).fields());
  ASSERT_EQ(take(row, kGood), "");
  const auto value = [&](std::size_t field, std::size_t at = 0) {
    const auto column = row.columns()[field];
    return value_at(row.fields()[field], {column.begin(), column.end()}, at);
  };
  EXPECT_EQ(value(0), 1.5);
  EXPECT_EQ(value(1), 3);
  EXPECT_EQ(value(2), 1);
  EXPECT_EQ(value(3), 86400);
  EXPECT_EQ(std::memcmp(row.columns()[4].data(), "Rome", 4), 0);
  EXPECT_EQ(value(5, 3), 255);
  EXPECT_EQ(value(6), -2);
  EXPECT_EQ(row.dropped_for(), nullptr);
}

TEST(TextRow, WhatIsNotThereIsNamedWithWhatMayBeMeant) {
  TextRow row(contract_of(kFields).fields());
  const std::string said = take(row, R"({"member": 0, "when": 5, "image": [[0,0],[0,0]], "amuont": 2,
      "count": null, "shop": null, "score": null})");
  EXPECT_EQ(said, "'amount' is not there (did you mean 'amuont'?); null says that it is missing");
}

TEST(TextRow, NullIsMissingAsTheContractSays) {
  TextRow row(contract_of(kFields).fields());
  ASSERT_EQ(take(row, R"({"member": 0, "when": 5, "image": [[0,0],[0,0]], "amount": null, "count": null,
                          "shop": null, "score": null})"),
            "");
  float amount = 0;
  std::memcpy(&amount, row.columns()[0].data(), sizeof(amount));
  EXPECT_TRUE(std::isnan(amount));
  EXPECT_EQ(static_cast<std::int8_t>(row.columns()[1][0]), -1);
  EXPECT_EQ(row.columns()[4][0], std::byte{0});
  ASSERT_NE(row.dropped_for(), nullptr);
  EXPECT_EQ(row.dropped_for()->name, "score");
}

struct Wrong {
  const char* from;  ///< what of kGood becomes
  const char* to;
  const char* says;
};

TEST(TextRow, RefusesByName) {
  const Wrong cases[] = {
      {"\"amount\": 1.5", "\"amount\": 100.5", "100.5"},
      {"\"amount\": 1.5", "\"amount\": \"1.5\"", "the text '1.5' is no float32 for 'amount'"},
      {"\"amount\": 1.5", "\"amount\": 1e39", "no float32 for 'amount'"},
      {"\"count\": 3", "\"count\": 300", "300 is no int8 for 'count'"},
      {"\"count\": 3", "\"count\": 3.5", "3.5 is no int8 for 'count'"},
      {"\"count\": 3", "\"count\": 18446744073709551615", "no int8"},
      {"\"count\": 3", "\"count\": true", "true is no int8 for 'count'"},
      {"\"member\": true", "\"member\": 2", "2"},
      {"\"member\": true, ", "", "'member'"},
      {"\"member\": true", "\"member\": null", "'member'"},
      {"\"1970-01-02\"", "\"yesterday\"", "no int64 for 'when'"},
      {"\"Rome\"", "\"Bonn\"", "Bonn"},
      {"\"Rome\"", "\"Romeo\"", "longer than the 4 bytes of 'shop'"},
      {"\"Rome\"", "7", "7 is no text for 'shop'"},
      {"[[1, 2], [3, 255]]", "[1, 2, 3, 255]", "'image' takes arrays of 2"},
      {"[[1, 2], [3, 255]]", "[[1, 2], [3]]", "'image' takes arrays of 2"},
      {"[[1, 2], [3, 255]]", "[[1, 2], [3, 256]]", "256 is no uint8 for 'image'"},
      {"[[1, 2], [3, 255]]", "null", "'image' is missing"},
      {"\"amount\": 1.5", "\"amount\": 1.5, \"amount\": 2", "'amount' is there twice"},
      {"{", "[", "JSON"},
      {"}", "", "is not JSON"},
  };
  for (const Wrong& wrong : cases) {
    std::string text = kGood;
    text.replace(text.find(wrong.from), std::strlen(wrong.from), wrong.to);
    TextRow row(contract_of(kFields).fields());
    const std::string said = take(row, text);
    EXPECT_NE(said.find(wrong.says), std::string::npos) << wrong.to << ": " << said;
    EXPECT_EQ(said.find('\n'), std::string::npos) << said;
  }
  EXPECT_NE(parse_json_line("7").error().message().find("no object"), std::string::npos);
}

TEST(TextRow, TakesWholeNumbersOfEveryForm) {
  TextRow row(contract_of("  x: {dtype: uint64}\n").fields());
  EXPECT_EQ(take(row, R"({"x": 18446744073709551615})"), "");
  EXPECT_EQ(take(row, R"({"x": 3.0})"), "");
  EXPECT_EQ(row.columns()[0][0], std::byte{3});
  EXPECT_NE(take(row, R"({"x": -1})"), "");
  EXPECT_NE(take(row, R"({"x": 1e300})"), "");
}

TEST(TextRow, TakesCellsByTheirColumns) {
  TextRow row(contract_of("  a: {dtype: int16}\n  b: {dtype: string, length: 3}\n").fields());
  const std::vector<std::string_view> cells{"x", "nn", " 12 "};
  const std::vector<std::size_t> cell_of_field{2, 0};
  ASSERT_EQ(row.take(cells, cell_of_field), "");
  EXPECT_EQ(row.columns()[0][0], std::byte{12});
  EXPECT_EQ(row.columns()[1][0], std::byte{'x'});
  const std::vector<std::string_view> wrong{"x", "nn", "NA"};
  EXPECT_NE(row.take(wrong, cell_of_field).find("'a'"), std::string::npos);
}

/// Gives a text in pieces, and counts how often it was asked.
struct Pieces {
  std::string text;
  std::size_t piece;
  std::size_t at = 0;
  std::size_t asked = 0;
  LineReader::Read read() {
    return [this](std::span<std::byte> out) {
      ++asked;
      const std::size_t count = std::min({piece, out.size(), text.size() - at});
      std::memcpy(out.data(), text.data() + at, count);
      at += count;
      return count;
    };
  }
};

TEST(LineReader, GivesLinesWhateverThePieces) {
  const std::string text = "one\r\n\ntwo words\n" + std::string(70000, 'x') + "\nlast";
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{100000}}) {
    Pieces pieces{text, piece};
    LineReader reader(pieces.read());
    std::vector<std::size_t> lengths;
    while (const auto line = reader.next()) {
      lengths.push_back(line->size());
      EXPECT_EQ(reader.line(), lengths.size());
    }
    EXPECT_EQ(lengths, (std::vector<std::size_t>{3, 0, 9, 70000, 4})) << piece;
  }
}

TEST(LineReader, AsksForNoMoreThanALine) {
  Pieces pieces{"a\nb\nc\n", 2};
  LineReader reader(pieces.read());
  for (std::size_t line = 1; line <= 3; ++line) {
    ASSERT_TRUE(reader.next());
    EXPECT_EQ(pieces.asked, line) << "it waited for more than the line";
  }
}

TEST(LineReader, RefusesALineWithoutEnd) {
  LineReader reader([](std::span<std::byte> out) {
    std::memset(out.data(), 'x', out.size());
    return out.size();
  });
  const Error error = error_of([&] { (void)reader.next(); });
  EXPECT_EQ(error.code(), ErrorCode::kData);
  EXPECT_EQ(error.where(), "line 1");
}

}  // namespace
}  // namespace muster
