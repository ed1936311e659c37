#include "core/option.h"

#include <gtest/gtest.h>

#include "core/json.h"

namespace muster {
namespace {

const std::vector<Option> kOptions = {
    {"flag", OptionType::kBoolean, true, "", {}},
    {"shift", OptionType::kInteger, -1, "", {}},
    {"count", OptionType::kUnsigned, nullptr, "", {}},
    {"rate", OptionType::kNumber, 0.5, "", {}},
    {"name", OptionType::kText, "x", "", {}},
    {"kind", OptionType::kText, "one", "", {"one", "two"}},
    {"memory", OptionType::kBytes, 0, "", {}},
    {"sizes", OptionType::kIntegerList, Json::array(), "", {}},
    {"weights", OptionType::kNumberList, Json::array(), "", {}},
    {"kinds", OptionType::kTextList, Json::array(), "", {"one", "two"}},
};

Json read(const std::string& text) {
  const YamlNode node = YamlNode::parse(text, "f.yaml");
  return read_options(kOptions, &node);
}

std::string error_of(const std::string& text) {
  try {
    read(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    return error.what();
  }
  return "no error";
}

TEST(Options, DefaultsFillWhatIsNotGiven) {
  const Json values = read_options(kOptions, nullptr);
  EXPECT_EQ(values.size(), kOptions.size());
  for (const Option& option : kOptions) EXPECT_EQ(values.at(option.name), option.fallback) << option.name;
  EXPECT_EQ(read("{}"), values);
}

TEST(Options, EveryTypeIsRead) {
  const Json values = read(
      "{flag: false, shift: -7, count: 18446744073709551615, rate: 2, name: 3, kind: two, memory: 2 KiB, "
      "sizes: [1, -2], "
      "weights: [0.5, 1], kinds: [two, one]}");
  EXPECT_EQ(
      values,
      Json::parse(R"({"flag": false, "shift": -7, "count": 18446744073709551615, "rate": 2.0, "name": "3",
    "kind": "two", "memory": 2048, "sizes": [1, -2], "weights": [0.5, 1.0], "kinds": ["two", "one"]})"));
  EXPECT_TRUE(values.at("rate").is_number_float());
}

TEST(Options, NullLeavesOpenWhatHasNoDefault) {
  EXPECT_TRUE(read("count: ~").at("count").is_null());
  EXPECT_TRUE(read("count:").at("count").is_null());
  EXPECT_EQ(error_of("rate: ~"), "f.yaml:1:1: a number was expected, found nothing");
  EXPECT_EQ(error_of("name:"), "f.yaml:1:1: text was expected, found nothing");
}

TEST(Options, WrongValuesAreRefusedWhereTheyStand) {
  EXPECT_EQ(error_of("a: 1\nflg: true"), "f.yaml:1:1: unknown key 'a'");
  EXPECT_EQ(error_of("flag: true\nflg: true"), "f.yaml:2:1: unknown key 'flg' (did you mean 'flag'?)");
  EXPECT_EQ(error_of("{rate: 1, flag: 1}"), "f.yaml:1:11: true or false was expected, found '1'");
  EXPECT_EQ(error_of("shift: 1.5"), "f.yaml:1:1: an integer was expected, found '1.5'");
  EXPECT_EQ(error_of("count: -1"), "f.yaml:1:1: an integer of at least 0 was expected, found '-1'");
  EXPECT_EQ(error_of("rate: fast"), "f.yaml:1:1: a number was expected, found 'fast'");
  EXPECT_EQ(error_of("rate: .inf"), "f.yaml:1:1: a finite number was expected");
  EXPECT_EQ(error_of("weights: [1, .inf]"), "f.yaml:1:14: a finite number was expected");
  EXPECT_EQ(error_of("name: [a]"), "f.yaml:1:1: text was expected, found a list");
  EXPECT_EQ(error_of("kind: tow"), "f.yaml:1:1: 'tow' is no kind (did you mean 'two'?); known: one, two");
  EXPECT_EQ(error_of("kinds: [one, onee]"),
            "f.yaml:1:14: 'onee' is no kinds (did you mean 'one'?); known: one, two");
  EXPECT_EQ(error_of("memory: lots"), "f.yaml:1:1: a size like '512 MiB' was expected, found 'lots'");
  EXPECT_EQ(error_of("sizes: 3"), "f.yaml:1:1: a list was expected, found '3'");
  EXPECT_EQ(error_of("sizes: [1, x]"), "f.yaml:1:12: an integer was expected, found 'x'");
}

TEST(Options, EveryTypeHasAName) {
  for (const Option& option : kOptions) EXPECT_STRNE(to_string(option.type), "");
}

}  // namespace
}  // namespace muster
