#include "core/text.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace muster {
namespace {

using Texts = std::vector<std::string>;

TEST(Text, SplitAndJoinKeepEmptyParts) {
  EXPECT_EQ(split("a,,b,", ','), (Texts{"a", "", "b", ""}));
  EXPECT_EQ(split("", ','), Texts{""});
  EXPECT_EQ(join(Texts{"a", "", "b"}, ", "), "a, , b");
  EXPECT_EQ(join(Texts{}, ", "), "");
}

TEST(Text, OneLineIsOneLineWhateverIsInIt) {
  EXPECT_EQ(one_line("a\nb\r\x1b[31m\x7f\t"), "a\\x0ab\\x0d\\x1b[31m\\x7f\\x09");
  EXPECT_EQ(one_line("größer 'x'"), "größer 'x'");
}

TEST(Text, TrimTakesWhiteSpaceOfBothEnds) {
  EXPECT_EQ(trim(" \t a b\r\n"), "a b");
  EXPECT_EQ(trim("  "), "");
}

TEST(Utf8, EndsAtTheFirstByteThatIsNone) {
  for (const std::string good :
       {"", "a", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(utf8_prefix(good), good.size());
    EXPECT_EQ(utf8_prefix(good + "a\xff" + good), good.size() + 1);
    if (good.size() > 1) {
      EXPECT_EQ(utf8_prefix(std::string_view(good).substr(0, good.size() - 1)), 0U) << "cut short";
    }
  }
  for (const char* bad : {"\x80", "\xc1\xbf", "\xc2\x41", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe1\x80\xc0", "\xfe", "\xff"}) {
    EXPECT_EQ(utf8_prefix(bad), 0U);
  }
}

TEST(NearestName, FindsTyposAndNothingFarAway) {
  const Texts known{"learning_rate", "momentum", "epochs", "lanes"};
  EXPECT_EQ(nearest_name("learning_rte", known), "learning_rate");
  EXPECT_EQ(nearest_name("epoch", known), "epochs");
  EXPECT_EQ(nearest_name("lnaes", known), "lanes");  // neighbours swapped: one edit
  EXPECT_EQ(nearest_name("x", known), std::nullopt);
  EXPECT_EQ(nearest_name("", known), std::nullopt);
  EXPECT_EQ(nearest_name("a", Texts{"b"}), "b");
  EXPECT_EQ(nearest_name("a", Texts{}), std::nullopt);
  EXPECT_EQ(did_you_mean("momentun", known), " (did you mean 'momentum'?)");
  EXPECT_EQ(did_you_mean("zzz", known), "");
}

TEST(HumanText, ShowsBytesCountsAndSeconds) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(std::uint64_t{20} << 30), "20 GiB");
  EXPECT_EQ(human_bytes(~std::uint64_t{0}), "16384 PiB");
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(1000), "1,000");
  EXPECT_EQ(human_count(1234567), "1,234,567");
  EXPECT_EQ(human_seconds(0.85), "850 ms");
  EXPECT_EQ(human_seconds(0.9999), "1.0 s");
  EXPECT_EQ(human_seconds(4.2), "4.2 s");
  EXPECT_EQ(human_seconds(59.96), "1 min 00 s");
  EXPECT_EQ(human_seconds(192), "3 min 12 s");
  EXPECT_EQ(human_seconds(3599.6), "1 h 00 min");
  EXPECT_EQ(human_seconds(7500), "2 h 05 min");
}

TEST(ParseBytes, TakesDecimalAndBinaryUnits) {
  EXPECT_EQ(parse_bytes("1048576"), 1048576U);
  EXPECT_EQ(parse_bytes(" 512 MiB "), 512U << 20);
  EXPECT_EQ(parse_bytes("2GB"), 2'000'000'000U);
  EXPECT_EQ(parse_bytes("1.5KiB"), 1536U);
  EXPECT_EQ(parse_bytes("0"), 0U);
}

TEST(ParseBytes, TakesNothingElse) {
  for (const char* text :
       {"", "MiB", "-1", "12 Mib", "nan", "inf", "1e30", "16777216 TiB", "5 B B", "0x10"}) {
    EXPECT_EQ(parse_bytes(text), std::nullopt) << text;
  }
}

TEST(IsoTime, GoesBothWays) {
  EXPECT_EQ(iso_time(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(iso_time(1769862896.5), "2026-01-31T12:34:56.500Z");
  EXPECT_EQ(iso_time(-0.25), "1969-12-31T23:59:59.750Z");
  EXPECT_EQ(parse_iso_time("1970-01-01"), 0);
  EXPECT_EQ(parse_iso_time("2026-01-31T12:34:56"), 1769862896);
  EXPECT_EQ(parse_iso_time("2026-01-31 12:34:56Z"), 1769862896);
  EXPECT_EQ(parse_iso_time("1969-12-31T23:59:59Z"), -1);
  EXPECT_EQ(parse_iso_time("2024-02-29"), 1709164800);
}

TEST(IsoTime, OtherTextIsNone) {
  for (const char* text :
       {"", "Z", "2026-1-31", "2026-13-01", "2025-02-29", "2026-01-31T24:00:00", "2026-01-31T12:60:00",
        "2026-01-31T12:34:60", "2026-01-31T12:34", "2026/01/31", "-001-01-01", "2026-01-31T-0:00:00",
        "2026-01-31x12:34:56", "2026-01-31T12:34:5x", "2026-01-311"}) {
    EXPECT_EQ(parse_iso_time(text), std::nullopt) << text;
  }
}

TEST(Clock, TellsATimeOfThisCentury) {
  EXPECT_GT(seconds_since_epoch(), 1.7e9);
  EXPECT_LT(seconds_since_epoch(), 4.1e9);
}

}  // namespace
}  // namespace muster
