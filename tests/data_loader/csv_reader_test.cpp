// Delimited text: what was written comes back whatever the pieces it is read in, and wrong records are told
// from right ones.
#include "data_loader/ingest/csv_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "data_loader/ingest/byte_search.h"
#include "tests/data_loader/csv_reference.h"
#include "tests/data_loader/order_cases.h"

namespace muster::testing {
namespace {

using Record = std::vector<std::string>;

/// Gives a text in pieces of at most `piece` bytes.
CsvReader::Read pieces(const std::string& text, std::size_t piece) {
  return [&text, piece, at = std::size_t{0}](std::span<std::byte> out) mutable {
    const std::size_t count = std::min({piece, out.size(), text.size() - at});
    std::memcpy(out.data(), text.data() + at, count);
    at += count;
    return count;
  };
}

struct Seen {
  std::vector<Record> records;  ///< a fault stands as one field "!fault"
  std::vector<std::uint64_t> lines;
};

Seen read_all(const std::string& text, CsvDialect dialect = {}, std::size_t piece = 1 << 20) {
  CsvReader reader(pieces(text, piece), dialect);
  Seen seen;
  while (reader.next()) {
    seen.lines.push_back(reader.line());
    EXPECT_NE(reader.fault().empty(), reader.fields().empty());
    if (!reader.fault().empty()) {
      seen.records.push_back({"!" + reader.fault()});
      continue;
    }
    seen.records.emplace_back(reader.fields().begin(), reader.fields().end());
  }
  return seen;
}

TEST(CsvReader, WaitsForNoMoreThanTheRecord) {
  const std::string text = "a,b\n\"x\",\"y\"\n1,2\r\n";
  std::size_t at = 0;
  CsvReader reader([&](std::span<std::byte> out) -> std::size_t {
    if (at == text.size()) return 0;
    out[0] = static_cast<std::byte>(text[at++]);
    return 1;
  });
  for (const char* const rest : {"\"x\",\"y\"\n1,2\r\n", "1,2\r\n", ""}) {
    ASSERT_TRUE(reader.next());
    EXPECT_EQ(text.substr(at), rest) << "it read on";
  }
}

TEST(CsvReader, SplitsWhatProgramsWrite) {
  EXPECT_EQ(read_all("a,b\n1,2\n").records, (std::vector<Record>{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(read_all("a,b\r\n1,2").records, (std::vector<Record>{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(read_all("a,b\r1,2\r").records, (std::vector<Record>{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(read_all("\xef\xbb\xbf\"a\",b\n").records, (std::vector<Record>{{"a", "b"}}));
  EXPECT_EQ(read_all("a,,\n,\n").records, (std::vector<Record>{{"a", "", ""}, {"", ""}}));
  EXPECT_EQ(read_all("\n\n a , b \n\n\n").records, (std::vector<Record>{{" a ", " b "}}));
  EXPECT_EQ(read_all("\"x, \"\"y\"\"\n z\",5\"\n").records, (std::vector<Record>{{"x, \"y\"\n z", "5\""}}));
  EXPECT_EQ(read_all("\"\",\"\"\"\"\n").records, (std::vector<Record>{{"", "\""}}));
  EXPECT_EQ(read_all("1;'a;b'\n", {';', '\''}).records, (std::vector<Record>{{"1", "a;b"}}));
  EXPECT_TRUE(read_all("").records.empty());
  EXPECT_TRUE(read_all("\xef\xbb\xbf").records.empty());
}

TEST(CsvReader, TellsTheLineARecordStartsOn) {
  EXPECT_EQ(read_all("a\n\n\"b\nb\"\r\nc\rd\n").lines, (std::vector<std::uint64_t>{1, 3, 5, 6}));
}

TEST(CsvReader, AWrongRecordIsAFaultAndTheNextOneIsRead) {
  const Seen seen = read_all("1,2\n\"a\"b,2\n3,4\n");
  EXPECT_EQ(seen.records,
            (std::vector<Record>{{"1", "2"}, {"!field 1 goes on after its closing quote"}, {"3", "4"}}));
  EXPECT_EQ(read_all("1,\"2\n3,4\n").records,
            (std::vector<Record>{{"!the quote that field 2 starts with is never closed"}}));
}

TEST(CsvReader, ARecordWithoutEndIsGivenUpInBoundedMemory) {
  std::size_t given = 0;
  CsvReader reader([&](std::span<std::byte> out) {
    std::memset(out.data(), given == 0 ? '"' : 'x', out.size());
    given += out.size();
    return out.size();
  });
  ASSERT_TRUE(reader.next());
  EXPECT_NE(reader.fault().find("a record of more than 16 MiB"), std::string::npos) << reader.fault();
  EXPECT_LT(given, 4 * CsvRecords::kMostRecordBytes);
  EXPECT_FALSE(reader.next());
}

std::string random_text(RandomStream& random) {
  constexpr std::string_view kLetters = "ab,;\"'\n\r \t\xc3\xa4";
  std::string text;
  for (std::uint64_t n = random.below(8); n > 0; --n) text += kLetters[random.below(kLetters.size())];
  return text;
}

std::string written(const std::string& text, const CsvDialect& dialect, bool quote_all, Edges& edges) {
  const bool must = text.find_first_of(std::string("\n\r") + dialect.delimiter) != std::string::npos ||
                    text.starts_with(dialect.quote);
  edges.hit("quoted for its content", must);
  edges.hit("a quote inside without quotes around",
            !must && !quote_all && text.find(dialect.quote) != std::string::npos);
  if (!must && !quote_all) return text;
  std::string result(1, dialect.quote);
  for (const char c : text) result += c == dialect.quote ? std::string(2, c) : std::string(1, c);
  edges.hit("a doubled quote", result.size() > text.size() + 1);
  return result + dialect.quote;
}

TEST(CsvReader, RandomTablesComeBack) {
  Edges edges;
  for (int i = 0; i < case_count(); ++i) {
    RandomStream random(static_cast<std::uint64_t>(i));
    const CsvDialect dialect{",;\t"[random.below(3)], "\"'"[random.below(2)]};
    const bool quote_all = random.below(4) == 0;
    const std::string line_end = std::vector<std::string>{"\n", "\r\n", "\r"}[random.below(3)];
    std::vector<Record> records(random.below(6));
    std::string text;
    for (Record& record : records) {
      record.resize(1 + random.below(4));
      for (std::string& field : record) field = random_text(random);
      if (record.size() == 1 && record[0].empty()) record[0] = "x";  // a blank line is no record
      for (std::size_t f = 0; f < record.size(); ++f) {
        text +=
            (f > 0 ? std::string(1, dialect.delimiter) : "") + written(record[f], dialect, quote_all, edges);
      }
      const bool last = &record == &records.back() && random.below(2) == 0;
      edges.hit("no line end at the end", last);
      if (!last) text += line_end;
    }
    edges.hit("nothing at all", records.empty());
    EXPECT_EQ(read_all(text, dialect, 1).records, records) << "case " << i << ": " << text;
    EXPECT_EQ(read_all(text, dialect, 1 + random.below(9)).records, records) << "case " << i << ": " << text;
    EXPECT_EQ(read_all(text, dialect).records, records) << "case " << i << ": " << text;
  }
  edges.expect_all_hit();
}

/// Everything that the reader tells of a text.
std::vector<CsvSeen> told(const std::string& text, CsvDialect dialect, std::size_t piece) {
  CsvReader reader(pieces(text, piece), dialect);
  std::vector<CsvSeen> seen;
  while (reader.next()) {
    seen.push_back({reader.line(),
                    {reader.fields().begin(), reader.fields().end()},
                    reader.fault(),
                    reader.lost_the_rest()});
  }
  return seen;
}

TEST(CsvReader, ReadsAnythingAsTheAutomatonDoes) {
  Edges edges;
  for (int i = 0; i < 20 * case_count(); ++i) {
    RandomStream random(static_cast<std::uint64_t>(i));
    const CsvDialect dialect{",;\t"[random.below(3)], "\"'"[random.below(2)]};
    const std::string letters = std::string("aaab\n\r") + dialect.delimiter + dialect.quote +
                                (random.below(2) == 0 ? std::string(9, 'x') : std::string(1, dialect.quote));
    std::string text = random.below(8) == 0 ? "\xef\xbb\xbf" : "";
    for (std::uint64_t n = random.below(60); n > 0; --n) text += letters[random.below(letters.size())];
    const std::vector<CsvSeen> expected = CsvReference(text, dialect).read();
    edges.hit("several records", expected.size() > 2);
    for (const CsvSeen& record : expected) {
      edges.hit("a record without a fault", record.fault.empty());
      edges.hit("a quote never closed", record.lost_the_rest && record.fault.ends_with("is never closed"));
      edges.hit("one behind another fault", record.lost_the_rest && record.fault.starts_with("field"));
      edges.hit("a fault that ends with its record", !record.fault.empty() && !record.lost_the_rest);
      for (const std::string& field : record.fields)
        edges.hit("a line end in a field", field.find_first_of("\n\r") != std::string::npos);
    }
    for (const std::size_t piece : {std::size_t{1}, 1 + random.below(9), std::size_t{1} << 20})
      ASSERT_EQ(told(text, dialect, piece), expected)
          << "case " << i << ", pieces of " << piece << ": " << text;
  }
  edges.expect_all_hit();
}

TEST(CsvReader, ALineEndOrQuoteCutByTheBufferIsWhole) {
  for (const std::string end : {"\r\n", "\"\r\n", "\"\"\"\n"}) {  // at every place around the buffer's end
    for (std::size_t before = (1U << 18) - 12; before < (1U << 18) + 4; ++before) {
      const std::string start = end.starts_with('"') ? "\"" : "";
      std::string text = std::string(before / 2, 'a') + "\n" + start;
      text += std::string(before - text.size(), 'b') + end + "c,d\ne\n";
      ASSERT_EQ(told(text, {}, text.size()), CsvReference(text, {}).read()) << end.size() << " " << before;
    }
  }
}

TEST(ByteSearch, FindsTheFirstOfSomeBytes) {
  RandomStream random(7);
  Edges edges;
  const std::string near("abc\x00\x01\x80\xff\x60\x61\x62\xe1", 11);  // one bit off, borrows, carries
  for (int i = 0; i < 20 * case_count(); ++i) {
    std::string text(random.below(70), 'x');
    for (std::uint64_t n = random.below(4); n > 0 && !text.empty(); --n)
      text[random.below(text.size())] = near[random.below(near.size())];
    const std::size_t from = random.below(text.size() + 1);
    const char* const begin = text.data() + from;
    const char* const end = text.data() + text.size();
    const std::size_t one = text.find('a', from);
    const std::size_t any = text.find_first_of(std::string("a\xff\0", 3), from);
    edges.hit("not there", any == std::string::npos);
    edges.hit("far", any != std::string::npos && any - from > 32);
    edges.hit("in the last bytes", any != std::string::npos && text.size() - any < 8);
    ASSERT_EQ(find_any(begin, end, BytePattern('a')) - text.data(),
              static_cast<std::ptrdiff_t>(std::min(one, text.size())));
    ASSERT_EQ(find_any(begin, end, BytePattern('a'), BytePattern('\xff'), BytePattern('\0')) - text.data(),
              static_cast<std::ptrdiff_t>(std::min(any, text.size())));
  }
  edges.expect_all_hit();
}

TEST(CsvReader, ALargeFileGoesThroughASmallBuffer) {
  std::string text;
  std::vector<Record> records;
  for (int i = 0; i < 60'000; ++i) {
    records.push_back({std::to_string(i), i % 7 == 0 ? "a \"quoted\" one" : "plain"});
    text += records.back()[0] + (i % 7 == 0 ? ",\"a \"\"quoted\"\" one\"\n" : ",plain\n");
  }
  EXPECT_EQ(read_all(text).records, records);
  EXPECT_EQ(read_all(text, {}, 1000).lines.back(), 60'000U);
}

}  // namespace
}  // namespace muster::testing
