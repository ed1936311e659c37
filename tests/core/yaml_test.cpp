// Strict YAML: what is read, where errors point, what hostile documents do, and that written text reads back.
#include "core/yaml.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/random.h"
#include "core/text.h"

namespace muster {
namespace {

Json parse(const std::string& text) { return YamlNode::parse(text, "f.yaml").to_json(); }

std::string error_of(const std::string& text) {
  try {
    YamlNode::parse(text, "f.yaml");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    return error.what();
  }
  return "no error";
}

std::string repeat(const std::string& text, std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

TEST(Yaml, PlainScalarsGetTheirTypes) {
  EXPECT_EQ(
      parse(
          "[1, -2, +3, 1.5, 1e3, .5, true, False, null, ~, '1', \"true\", abc, 1.2.3, 18446744073709551615]"),
      Json::parse(R"([1, -2, 3, 1.5, 1000.0, 0.5, true, false, null, null, "1", "true", "abc", "1.2.3",
                          18446744073709551615])"));
  EXPECT_EQ(parse("[+-5, 0x1F, 1_000, infinity, nan, .nan, 1e400, yes]"),
            Json::parse(R"(["+-5", "0x1F", "1_000", "infinity", "nan", ".nan", "1e400", "yes"])"));
  EXPECT_EQ(parse(""), Json(nullptr));
  EXPECT_EQ(parse("# only a comment\n"), Json(nullptr));
}

TEST(Yaml, NodesKnowTheirPlace) {
  const YamlNode root = YamlNode::parse("a: 1\nb:\n  c: [x, y]\n", "f.yaml");
  EXPECT_EQ(root.where(), "f.yaml:1:1");
  EXPECT_EQ(root.require("b").where(), "f.yaml:2:1");
  EXPECT_EQ(root.require("b").require("c").where(), "f.yaml:3:3");
  EXPECT_EQ(root.require("b").require("c").items()[1].where(), "f.yaml:3:10");
}

TEST(Yaml, TypedReadersTakeTheirTypeOnly) {
  const YamlNode root = YamlNode::parse(
      "{i: -3, u: 7, n: 2.5, b: true, s: text, q: '5', m: 1 KiB, t: 1970-01-02, e: 60, inf: .inf, none: ~}",
      "f.yaml");
  EXPECT_EQ(root.require("i").as_integer(), -3);
  EXPECT_EQ(root.require("u").as_unsigned(), 7U);
  EXPECT_EQ(root.require("n").as_number(), 2.5);
  EXPECT_EQ(root.require("inf").as_number(), HUGE_VAL);
  EXPECT_TRUE(root.require("b").as_boolean());
  EXPECT_EQ(root.require("s").as_string(), "text");
  EXPECT_EQ(root.require("q").as_string(), "5");
  EXPECT_TRUE(root.require("q").is_quoted());
  EXPECT_EQ(root.require("m").as_bytes(), 1024U);
  EXPECT_EQ(root.require("t").as_time(), 86400);
  EXPECT_EQ(root.require("e").as_time(), 60);
  EXPECT_TRUE(root.require("none").is_null());
  EXPECT_THROW(root.require("q").as_integer(), Error);
  EXPECT_THROW(root.require("q").as_unsigned(), Error);
  EXPECT_THROW(root.require("q").as_number(), Error);
  EXPECT_THROW(root.require("i").as_unsigned(), Error);
  EXPECT_THROW(root.require("n").as_integer(), Error);
  EXPECT_THROW(root.require("u").as_boolean(), Error);
  EXPECT_THROW(root.require("none").as_string(), Error);
  EXPECT_THROW(root.require("s").as_bytes(), Error);
  EXPECT_THROW(root.require("s").as_time(), Error);
  EXPECT_THROW(root.require("s").items(), Error);
  EXPECT_THROW(root.require("s").entries(), Error);
  EXPECT_THROW(root.require("absent"), Error);
}

TEST(Yaml, AnErrorShowsTheValueOnOneShortLine) {
  const YamlNode root = YamlNode::parse("a: \"x\\ny" + std::string(1000, 'z') + "\"", "f.yaml");
  try {
    root.require("a").as_integer();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message().find('\n'), std::string::npos);
    EXPECT_LT(error.message().size(), 120U);
    EXPECT_EQ(error.where(), "f.yaml:1:1");
  }
}

TEST(Yaml, UnreadKeysAreRefusedWithTheNearestKnown) {
  const YamlNode root = YamlNode::parse("size: 1\n\n  \nlenes: 2\n", "f.yaml");
  root.find("size");
  root.find("lanes");
  try {
    root.refuse_unread();
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "f.yaml:4:1: unknown key 'lenes' (did you mean 'lanes'?)");
  }
  root.find("lenes");
  root.refuse_unread();
}

TEST(Yaml, WhatIsNotUsedHereIsRefusedWhereItStands) {
  EXPECT_EQ(error_of("a: 1\nb: 2\na: 3\n"), "f.yaml:3:1: 'a' is given twice");
  EXPECT_EQ(error_of("x:\n  a: 1\n  'a': 2\n"), "f.yaml:3:3: 'a' is given twice");
  EXPECT_EQ(error_of("a: &x 1"), "f.yaml:1:4: YAML anchors are not used here");
  EXPECT_EQ(error_of("a: &x [1]"), "f.yaml:1:4: YAML anchors are not used here");
  EXPECT_EQ(error_of("&x a: 1"), "f.yaml:1:1: YAML anchors are not used here");
  EXPECT_EQ(error_of("a: &x ~"), "f.yaml:1:4: YAML anchors are not used here");
  EXPECT_EQ(error_of("a: !!str 1"), "f.yaml:1:4: YAML tags are not used here");
  EXPECT_EQ(error_of("a: !mine {}"), "f.yaml:1:4: YAML tags are not used here");
  EXPECT_EQ(error_of("? [a]\n: 1"), "f.yaml:1:3: a key must be plain text");
  EXPECT_EQ(error_of("? {a: 1}\n: 1"), "f.yaml:1:3: a key must be plain text");
  EXPECT_EQ(error_of("~: 1"), "f.yaml:1:1: a key must be plain text");
  EXPECT_EQ(error_of("a: 1\n---\nb: 2\n"), "f.yaml:2:1: a second YAML document begins here: one is expected");
}

TEST(Yaml, CodePointsThatAreNoCharactersAreRefused) {
  for (const char* text : {"a: \"\\uffff\"", "a: \"x\\ufffe\"", "a: \"\\ufdd0\"", "a: \"\\ufdef\"",
                           "a: \"\\U0001ffff\"", "a: \"\\U0010fffe\"", "\"\\uffff\": 1"}) {
    EXPECT_NE(error_of(text).find("no character"), std::string::npos) << text << " gave: " << error_of(text);
  }
  for (const char* text : {"a: \"\\ufffd\"", "a: \"\\ufdcf\"", "a: \"\\ufdf0\"", "a: \"\\U0001fffd\"",
                           "a: \"\\U0010fffd\"", "a: \"\\u0fff\"", "a: \"\\U0001f600\""}) {
    const auto json = YamlNode::parse(text, "f.yaml").to_json();
    EXPECT_EQ(YamlNode::parse(to_yaml(json), "again.yaml").to_json(), json) << text;
  }
}

TEST(Yaml, WhatIsNoYamlIsRefusedWithAPlace) {
  for (const char* text : {"a: [1", "a: {b", "a: 'x", "a: \"\\q\"", "a: 1\n b: 2", "\ta: 1", "a: *x",
                           "a: b: c", "]", "}", "%YAML 9.9\n---\na", "- a\nb: 1", "@a", "`a`", "a: |x\n b"}) {
    const std::string error = error_of(text);
    EXPECT_TRUE(error.starts_with("f.yaml:")) << text << " gave: " << error;
    const std::vector<std::string> parts = split(error, ':');
    ASSERT_GE(parts.size(), 4U) << text << " gave: " << error;
    EXPECT_GT(leading_integer(parts[1]).value_or(0), 0) << text << " gave: " << error;
    EXPECT_GT(leading_integer(parts[2]).value_or(0), 0) << text << " gave: " << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
}

TEST(Yaml, WhatIsNotUtf8IsRefusedWhereItStands) {
  EXPECT_EQ(error_of("a: 1\nb: \xff"), "f.yaml:2:4: is not UTF-8 text");
  EXPECT_EQ(error_of("a: |\n  l\xcdines\n"), "f.yaml:2:4: is not UTF-8 text");
  EXPECT_EQ(error_of(std::string("a\0: 1", 5)), "f.yaml:1:2: is not UTF-8 text");
  EXPECT_EQ(error_of(std::string("\xff\xfe"
                                 "a\0",
                                 4)),
            "f.yaml:1:1: is not UTF-8 text");  // UTF-16
  EXPECT_EQ(parse("\xef\xbb\xbf"
                  "a: ä"),
            (Json{{"a", "ä"}}));  // a byte order mark is none of the text
}

TEST(Yaml, SixtyFourLevelsAreReadAndNoMore) {
  Json value = 1;
  for (int i = 0; i < 64; ++i) value = Json::array({value});
  EXPECT_EQ(parse(repeat("[", 64) + "1" + repeat("]", 64)), value);
  EXPECT_EQ(error_of(repeat("[", 65) + "1" + repeat("]", 65)),
            "f.yaml:1:65: is nested deeper than 64 levels");
}

// yaml-cpp goes down one level of the stack for each of these.
TEST(Yaml, DeepNestingOfAnyKindIsRefusedAndCrashesNothing) {
  constexpr std::size_t kDeep = 200'000;
  std::string indented;
  for (std::size_t i = 0; i < 300; ++i) indented += std::string(i, ' ') + "a:\n";
  const std::vector<std::string> documents = {
      repeat("[", kDeep),    repeat("{", kDeep),     repeat("{a: ", kDeep), repeat("- ", kDeep),
      repeat("? ", kDeep),   repeat("[{a: ", kDeep), repeat("? - ", kDeep), indented,
      repeat("a: [", kDeep), repeat("[?", kDeep)};
  for (const std::string& document : documents) {
    const std::string error = error_of(document);
    EXPECT_NE(error, "no error") << document.substr(0, 20);
    EXPECT_TRUE(error.starts_with("f.yaml:")) << error;
  }
}

TEST(Yaml, BracketsInTextAndCommentsAreNoNesting) {
  const std::string brackets = repeat("[", 500);
  EXPECT_EQ(parse("a: '" + brackets + "' # " + brackets + "\nb: |\n  " + brackets + "\n"),
            (Json{{"a", brackets}, {"b", brackets + "\n"}}));
}

// The known attack: each line doubles the last tenfold.
TEST(Yaml, AliasesCannotMultiplyOrLoop) {
  std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    laughs +=
        "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + repeat(last + ", ", 9) + last + "]\n";
  }
  EXPECT_EQ(error_of(laughs), "f.yaml:1:5: YAML anchors are not used here");
  EXPECT_EQ(error_of("a: &x [*x]"), "f.yaml:1:4: YAML anchors are not used here");
  EXPECT_EQ(error_of("&x a: *x"), "f.yaml:1:1: YAML anchors are not used here");
}

TEST(Yaml, LoadNamesAFileThatCannotBeRead) {
  const auto path = std::filesystem::temp_directory_path() / ("muster-yaml-" + std::to_string(::getpid()));
  const auto error = attempt([&] { return YamlNode::load(path); });
  ASSERT_FALSE(error.ok());
  EXPECT_EQ(error.error().code(), ErrorCode::kConfig);
  EXPECT_EQ(error.error().what(), path.string() + ": cannot read: No such file or directory");
  std::ofstream(path) << "";
  EXPECT_TRUE(YamlNode::load(path).is_null());
  std::ofstream(path) << "a: [1]\n";
  EXPECT_EQ(YamlNode::load(path).to_json(), Json::parse(R"({"a": [1]})"));
  std::filesystem::remove(path);
  EXPECT_FALSE(attempt([&] { return YamlNode::load(path.parent_path()); }).ok());
}

const std::vector<std::string> kAwkwardTexts = {"",
                                                "null",
                                                "Null",
                                                "~",
                                                "1e3",
                                                "1",
                                                "-0",
                                                "true",
                                                "FALSE",
                                                "a: b",
                                                "#x",
                                                "x #y",
                                                "a\nb",
                                                "\n",
                                                " a",
                                                "a ",
                                                "ä€😀",
                                                "\t",
                                                "- a",
                                                "?",
                                                "[",
                                                "{}",
                                                "'",
                                                "\"",
                                                "\\",
                                                "---",
                                                "...",
                                                "%a",
                                                "@a",
                                                "&a",
                                                "*a",
                                                "!a",
                                                "|",
                                                ">",
                                                ",",
                                                "a, b",
                                                "a]",
                                                ":",
                                                "a:",
                                                ".inf",
                                                "0x10",
                                                "\x01\x7f",
                                                "\r\n",
                                                "x [e \r",
                                                "a\\nb",
                                                "=",
                                                "<<",
                                                "1_0",
                                                "+1",
                                                "1.",
                                                "`",
                                                "\xc2\x85",
                                                "\xe2\x80\xa8",
                                                "\xef\xbb\xbf",
                                                "yes",
                                                "2026-01-31"};

/// Random JSON that touches every edge above; counts what it made.
class RandomJson {
 public:
  explicit RandomJson(std::uint64_t seed) : stream_(seed) {}
  std::map<std::string, int> hits;

  Json make(int depth) {
    switch (stream_.below(depth > 0 ? 10 : 7)) {
      case 0:
        return note("null", nullptr);
      case 1:
        return note("boolean", stream_.below(2) == 0);
      case 2:
        return note("integer", static_cast<std::int64_t>(stream_() >> stream_.below(63)) - 5);
      case 3:
        return note("unsigned", ~std::uint64_t{0} - stream_.below(3));
      case 4:
        return note("number", number());
      case 5:
        return note("text", text());
      case 6:
        return note("random text", random_text());
      case 7:
        return list(depth);
      default:
        return map(depth);
    }
  }

 private:
  Json note(const char* what, Json value) {
    hits[what] += 1;
    return value;
  }
  double number() {
    constexpr double kNumbers[] = {
        0.0, -0.0, 1.0, 0.1, 1e300, 5e-324, -1.5e-7, 16777216.0, 123456789012345680.0};
    if (stream_.below(2) == 0) return kNumbers[stream_.below(std::size(kNumbers))];
    return stream_.normal() * std::pow(10, static_cast<double>(stream_.below(40)) - 20);
  }
  std::string text() { return kAwkwardTexts[stream_.below(kAwkwardTexts.size())]; }
  std::string random_text() {
    constexpr std::string_view kLetters = "ab 1.:#-[]{},'\"\\\n\t!&*|>%@?~=";
    std::string result;
    for (std::uint64_t i = stream_.below(12); i > 0; --i) result += kLetters[stream_.below(kLetters.size())];
    return result;
  }
  Json list(int depth) {
    Json result = Json::array();
    for (std::uint64_t i = stream_.below(4); i > 0; --i) result.push_back(make(depth - 1));
    return note(result.empty() ? "empty list" : "list", result);
  }
  Json map(int depth) {
    Json result = Json::object();
    for (std::uint64_t i = stream_.below(4); i > 0; --i) {
      result[stream_.below(2) == 0 ? text() : random_text()] = make(depth - 1);
    }
    return note(result.empty() ? "empty map" : "map", result);
  }

  RandomStream stream_;
};

TEST(ToYaml, RandomJsonComesBack) {
  RandomJson random(11);
  for (int i = 0; i < 1500; ++i) {
    const Json value = random.make(4);
    const std::string text = to_yaml(value);
    const auto back = attempt([&] { return YamlNode::parse(text, "again.yaml").to_json(); });
    ASSERT_TRUE(back.ok()) << back.error().what() << "\n" << value.dump() << "\n" << text;
    ASSERT_EQ(canonical(back.value()), canonical(value)) << text;
  }
  for (const char* edge : {"null", "boolean", "integer", "unsigned", "number", "text", "random text",
                           "empty list", "list", "empty map", "map"}) {
    RecordProperty(edge, random.hits[edge]);
    EXPECT_GT(random.hits[edge], 50) << edge;
  }
}

TEST(ToYaml, EveryAwkwardTextComesBackInEveryPlace) {
  for (const std::string& text : kAwkwardTexts) {
    const Json values[] = {Json(text), Json::array({text, text}), Json{{text, text}},
                           Json{{"a", {{text, {text}}}}}};
    for (const Json& value : values) {
      const auto back = attempt([&] { return parse(to_yaml(value)); });
      ASSERT_TRUE(back.ok()) << value.dump() << " gave " << back.error().what() << "\n" << to_yaml(value);
      EXPECT_EQ(back.value(), value) << to_yaml(value);
    }
  }
}

TEST(ToYaml, LooksAsPeopleWriteIt) {
  EXPECT_EQ(
      to_yaml(Json{{"train", {{"epochs", 3}, {"steps", nullptr}}}, {"data", {{"features", {"a", "1"}}}}}),
      "data:\n  features: [a, \"1\"]\ntrain:\n  epochs: 3\n  steps: ~\n");
}

}  // namespace
}  // namespace muster
