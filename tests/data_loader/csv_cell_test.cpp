// One cell of text to one value: every type, markers, dates, and what is no value.
#include "data_loader/ingest/csv_cell.h"

#include <gtest/gtest.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/text.h"
#include "data_loader/contract/time_format.h"
#include "tests/data_loader/order_cases.h"

namespace muster {
namespace {

Field field_of(DType type, Missing missing = Missing::kForbid, Role role = Role::kFeature) {
  Field field;
  field.name = "x";
  field.dtype = type;
  field.missing = missing;
  field.role = role;
  return field;
}

/// The value as text, or the complaint.
std::string value_of(const Field& field, std::string_view text, const CellRules& rules = {}) {
  std::array<std::byte, 8> bytes{};
  const std::string wrong = parse_cell(field, rules, text, bytes);
  if (!wrong.empty()) return wrong;
  return visit(field.dtype, [&]<typename T>(T*) {
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return fmt::format("{}", value);
  });
}

TEST(CsvCell, NumbersOfEveryType) {
  for (const char* name :
       {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"}) {
    const Field field = field_of(parse_dtype(name));
    EXPECT_EQ(value_of(field, "7"), "7") << name;
    EXPECT_EQ(value_of(field, " +7\t"), "7") << name;
    EXPECT_EQ(value_of(field, "7.0"), "7") << name;
    EXPECT_EQ(value_of(field, "7e0"), "7") << name;
    for (const char* bad : {"seven", "7,5", "7 5", "0x7", "--7", "+", "1e999", "inf", "1_000", "７"}) {
      EXPECT_NE(value_of(field, bad).find("is no " + std::string(name)), std::string::npos)
          << name << " " << bad;
    }
    EXPECT_EQ(value_of(field, ""), "'x' is missing, which the contract forbids") << name;
  }
}

TEST(CsvCell, TheEndsOfEveryIntegerType) {
  for (const char* name : {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}) {
    const Field field = field_of(parse_dtype(name));
    visit(field.dtype, [&]<typename T>(T*) {
      const std::string least = fmt::format("{}", std::numeric_limits<T>::lowest());
      const std::string most = fmt::format("{}", std::numeric_limits<T>::max());
      EXPECT_EQ(value_of(field, least), least);
      EXPECT_EQ(value_of(field, most), most);
      EXPECT_NE(value_of(field, most + "0").find("is no"), std::string::npos);
      EXPECT_NE(value_of(field, "-" + most + "0").find("is no"), std::string::npos);
      const double beyond = std::ldexp(1.0, std::numeric_limits<T>::digits);
      EXPECT_NE(value_of(field, fmt::format("{:.1f}", beyond)).find("is no"), std::string::npos) << name;
    });
    EXPECT_NE(value_of(field, "1.5").find("is no"), std::string::npos) << name;
  }
  EXPECT_EQ(value_of(field_of(DType::kInt64), "9007199254740993"),
            "9007199254740993");  // no double in between
  EXPECT_EQ(value_of(field_of(DType::kInt64), "9007199254740991.0"), "9007199254740991");
  for (const char* text : {"9007199254740993.0", "9.007199254740993e15", "-123456789012345678.0"})
    EXPECT_NE(value_of(field_of(DType::kInt64), text).find("is no"), std::string::npos) << text;
}

TEST(CsvCell, FloatsKeepTheirBits) {
  for (const double value : {0.1, -1e-300, 1.7976931348623157e308, 123456.789}) {
    EXPECT_EQ(value_of(field_of(DType::kFloat64), fmt::format("{}", value)), fmt::format("{}", value));
  }
  EXPECT_EQ(value_of(field_of(DType::kFloat32), "0.1"), fmt::format("{}", 0.1F));
  EXPECT_NE(value_of(field_of(DType::kFloat32), "1e39").find("is no float32"), std::string::npos);
}

TEST(CsvCell, NumbersAreRoundedAsFromCharsDoes) {
  RandomStream random(3);
  testing::Edges edges;
  for (int i = 0; i < 200 * testing::case_count(); ++i) {
    std::string text = random.below(4) == 0 ? "-" : "";
    const std::uint64_t digits = 1 + random.below(18);
    const std::uint64_t point = random.below(digits + 2);
    for (std::uint64_t d = 0; d < digits; ++d) {
      if (d == point) text += '.';
      text += static_cast<char>('0' + random.below(10));
    }
    if (point == digits) text += '.';
    double expected = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), expected);
    ASSERT_TRUE(status == std::errc{} && end == text.data() + text.size()) << text;
    edges.hit("more digits than a double has", digits > 15);
    edges.hit("as many as the short way takes", digits == 15);
    edges.hit("nothing before the point", point == 0);
    edges.hit("nothing behind it", point == digits);
    edges.hit("no point", point > digits);
    const auto number = read_number(text, NumberStyle{});
    ASSERT_TRUE(number) << text;
    ASSERT_EQ(std::bit_cast<std::uint64_t>(*number), std::bit_cast<std::uint64_t>(expected)) << text;
  }
  edges.expect_all_hit();
  for (const char* const bad : {"", "-", ".", "-.", "1.2.3", "1-", "--1", "1,5", "1 ", "0x1", "1e", "e1"})
    EXPECT_FALSE(read_number(bad, NumberStyle{})) << bad;
  EXPECT_TRUE(std::signbit(*read_number("-0", NumberStyle{})));
}

TEST(CsvCell, MissingMarkers) {
  const Field field = field_of(DType::kFloat32, Missing::kIndicator);
  for (const char* marker : {"", "  ", "NA", " NaN ", "null", "N/A"})
    EXPECT_EQ(value_of(field, marker), "nan") << marker;
  EXPECT_NE(value_of(field, "?").find("is no float32"), std::string::npos);
  CellRules rules;
  rules.missing = {"?", "-999"};
  EXPECT_EQ(value_of(field, "?", rules), "nan");
  EXPECT_NE(value_of(field, "NA", rules).find("is no float32"), std::string::npos);
}

TEST(CsvCell, AMarkerThatIsANumberIsMissing) {
  CellRules rules;
  rules.missing = {"-999"};
  EXPECT_EQ(value_of(field_of(DType::kFloat32, Missing::kIndicator), "-999", rules), "nan");
  EXPECT_EQ(value_of(field_of(DType::kFloat32), "-999", rules), "'x' is missing, which the contract forbids");
}

TEST(CsvCell, TextsThatStandForNumbers) {
  CellRules rules;
  rules.values = {{"yes", 1}, {"no", 0}, {"half", 0.5}};
  EXPECT_EQ(value_of(field_of(DType::kUInt8), "yes", rules), "1");
  EXPECT_EQ(value_of(field_of(DType::kFloat32), "half", rules), "0.5");
  EXPECT_NE(value_of(field_of(DType::kUInt8), "half", rules).find("is no uint8"), std::string::npos);
  EXPECT_NE(value_of(field_of(DType::kUInt8), "maybe", rules).find("'maybe' is no uint8"), std::string::npos);
}

TEST(CsvCell, DatesAreTimes) {
  const Field time = field_of(DType::kInt64, Missing::kForbid, Role::kTime);
  EXPECT_EQ(value_of(time, "1970-01-02"), "86400");
  EXPECT_EQ(value_of(time, "2013-01-01T05:00:00Z"), "1357016400");
  EXPECT_EQ(value_of(time, "1357016400"), "1357016400");
  EXPECT_NE(value_of(field_of(DType::kInt64), "1970-01-02").find("is no int64"), std::string::npos);
}

TEST(CsvCell, DecimalCommas) {
  CellRules rules;
  rules.number.decimal = ',';
  EXPECT_EQ(value_of(field_of(DType::kFloat64), "-1,25", rules), "-1.25");
  EXPECT_NE(value_of(field_of(DType::kFloat64), "1.000,25", rules).find("is no"), std::string::npos);
  // It may have been meant for 1000, or for 1.
  EXPECT_NE(value_of(field_of(DType::kFloat64), "1.000", rules).find("is no"), std::string::npos);
}

TEST(CsvCell, NumbersAsPeopleWriteThem) {
  struct Case {
    const char* thousands;
    char decimal;
    const char* unit;
    const char* text;
    const char* value;  ///< "": it is no number
  };
  for (const Case& one :
       std::initializer_list<Case>{{".", ',', "", "1.234.567,5", "1234567.5"},
                                   {".", ',', "", "-1.234", "-1234"},
                                   {".", ',', "", "12,75", "12.75"},
                                   {".", ',', "", "1234,5", "1234.5"},
                                   {".", ',', "", "12.34,5", ""},
                                   {".", ',', "", "1.2345", ""},
                                   {".", ',', "", "1,234.5", ""},
                                   {".", ',', "", ".234", ""},
                                   {".", ',', "", "1..234", ""},
                                   {"'", '.', "", "1'234.25", "1234.25"},
                                   {" ", ',', "", "1 234,5", "1234.5"},
                                   {"\u202f", ',', "\u20ac", "1\u202f234,5\u00a0\u20ac", "1234.5"},
                                   {",", '.', "$", "$1,234.5", "1234.5"},
                                   {",", '.', "$", "-$1,234.5", "-1234.5"},
                                   {",", '.', "$", "$-5", "-5"},
                                   {",", '.', "$", "$", ""},
                                   {"", '.', "%", "5 %", "5"},
                                   {"", '.', "%", "5", "5"},
                                   {"", '.', "%", "% 5", "5"},
                                   {"", '.', "%", "5 %%", ""},
                                   {"", '.', "kg", "1.5e3 kg", "1500"},
                                   {"", '.', "kg", "1.5 g", ""}}) {
    CellRules rules;
    rules.number = {one.decimal, one.thousands, one.unit};
    const std::string value = value_of(field_of(DType::kFloat64), one.text, rules);
    if (*one.value != 0) {
      EXPECT_EQ(value, one.value) << one.text;
      continue;
    }
    EXPECT_NE(value.find("is no float64"), std::string::npos) << one.text << " " << value;
  }
  CellRules rules;
  rules.number = {',', ".", "km"};
  EXPECT_EQ(value_of(field_of(DType::kInt32), "12.345 km", rules), "12345");
  EXPECT_EQ(value_of(field_of(DType::kInt64), "9.007.199.254.740.993", rules), "9007199254740993");
  EXPECT_NE(value_of(field_of(DType::kInt32), "12,5 km", rules).find("is no int32"), std::string::npos);
}

TEST(CsvCell, TimesInAFormatOfTheirOwn) {
  const Field time = field_of(DType::kInt64, Missing::kForbid, Role::kTime);
  CellRules rules;
  rules.time_format = "%d.%m.%Y %H:%M";
  EXPECT_EQ(value_of(time, "01.01.2013 05:00", rules), "1357016400");
  EXPECT_EQ(value_of(time, "1.1.2013 5:00", rules), "1357016400");
  EXPECT_EQ(value_of(time, "2013-01-01T05:00:00Z", rules), "1357016400") << "ISO all the same";
  EXPECT_EQ(value_of(field_of(DType::kInt64), "01.01.2013 05:00", rules), "1357016400")
      << "any field that says so";
  for (const char* none : {"30.02.2013 05:00", "01.13.2013 05:00", "01.01.2013", "01.01.2013 05:00 Uhr",
                           "01.01.13 05:00", "01.01.2013 25:00"})
    EXPECT_NE(value_of(time, none, rules).find("is no int64"), std::string::npos) << none;
  EXPECT_NE(value_of(time, std::string_view("01.01.2013 05:00\0x", 18), rules).find("is no int64"),
            std::string::npos);
  rules.number = {',', " ", ""};
  EXPECT_EQ(value_of(time, "2013-01-01 05:00:00", rules), "1357016400") << "a blank is no separator there";
  rules.time_format = "%m/%d/%y";
  EXPECT_EQ(value_of(time, "12/31/99", rules), "946598400");
  rules.time_format = "%d-%b-%Y";
  EXPECT_EQ(value_of(time, "31-Dec-1999", rules), "946598400");
  EXPECT_EQ(time_format_fault("%d.%m.%Y"), "");
  EXPECT_EQ(time_format_fault("%F %T"), "");
  for (const auto& [format, why] :
       std::initializer_list<std::pair<const char*, const char*>>{{"%d.%m", "a day, a month and a year"},
                                                                  {"%H:%M", "a day"},
                                                                  {"%A %d.%m.%Y", "%A is not read"},
                                                                  {"%d.%m.%Y%", "single %"}})
    EXPECT_NE(time_format_fault(format).find(why), std::string::npos)
        << format << ": " << time_format_fault(format);
}

TEST(CsvCell, ComplaintsShowTheTextHarmlessly) {
  const std::string wrong = value_of(field_of(DType::kInt8), std::string("a\x01\n") + std::string(99, 'b'));
  EXPECT_EQ(wrong.find('\n'), std::string::npos);
  EXPECT_NE(wrong.find("\\x01"), std::string::npos);
  EXPECT_LT(wrong.size(), 120U);
  EXPECT_EQ(value_of(field_of(DType::kInt8), "\xe4\xff"), "'\\xe4\\xff' is no int8 for 'x'");  // Latin-1
  std::string umlauts;
  for (int i = 0; i < 30; ++i) umlauts += "ä";
  const std::string cut = value_of(field_of(DType::kInt8), "x" + umlauts);
  EXPECT_EQ(utf8_prefix(cut), cut.size());
}

TEST(CsvCell, YesAndNoWhereOnlyZeroAndOneAreAllowed) {
  Field field = field_of(DType::kInt8);
  EXPECT_NE(value_of(field, "yes").find("is no int8"), std::string::npos);
  field.allowed = {0, 1};
  for (const char* yes : {"yes", "TRUE", "t", "Y", "1", "1.0"}) EXPECT_EQ(value_of(field, yes), "1") << yes;
  for (const char* no : {"No", "false", "F", "n", "0"}) EXPECT_EQ(value_of(field, no), "0") << no;
  EXPECT_NE(value_of(field, "yess").find("is no int8"), std::string::npos);
}

TEST(CsvCell, AMissingNumberIsWhatStandsForIt) {
  Field field = field_of(DType::kInt16, Missing::kDrop);
  field.missing_value = -9;
  EXPECT_EQ(value_of(field, "NA"), "-9");
  EXPECT_EQ(value_of(field, "12"), "12");
  EXPECT_EQ(value_of(field_of(DType::kFloat64, Missing::kImpute), ""), "nan");
}

TEST(CsvCell, OneWhereTheNumberIsAbove) {
  Field field = field_of(DType::kInt8, Missing::kDrop);
  field.missing_value = -1;
  CellRules rules;
  rules.above = 15;
  EXPECT_EQ(value_of(field, "15", rules), "0");
  EXPECT_EQ(value_of(field, "15.5", rules), "1");
  EXPECT_EQ(value_of(field, "1301", rules), "1") << "more than the field's own type holds";
  EXPECT_EQ(value_of(field, "", rules), "-1");
  EXPECT_NE(value_of(field, "late", rules).find("is no int8"), std::string::npos);
}

TEST(CsvCell, TextsArePaddedAndNoneIsCut) {
  Field field = field_of(DType::kString, Missing::kIndicator);
  field.length = 5;
  const auto text_of = [&](std::string_view text) {
    std::array<std::byte, 5> bytes;
    bytes.fill(std::byte{0xff});
    const std::string wrong = parse_cell(field, {}, text, bytes);
    return wrong.empty() ? std::string(reinterpret_cast<const char*>(bytes.data()), 5) : wrong;
  };
  EXPECT_EQ(text_of(" ab "), std::string("ab\0\0\0", 5));
  EXPECT_EQ(text_of("Züri"), "Züri");
  EXPECT_EQ(text_of("NA"), std::string(5, '\0'));
  EXPECT_NE(text_of("abcdef").find("longer than the 5 bytes of 'x'"), std::string::npos);
  EXPECT_NE(text_of(std::string_view("a\0b", 3)).find("zero byte"), std::string::npos);
  field.missing = Missing::kForbid;
  EXPECT_EQ(text_of(""), "'x' is missing, which the contract forbids");
}

}  // namespace
}  // namespace muster
