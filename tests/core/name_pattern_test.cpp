#include "core/name_pattern.h"

#include <gtest/gtest.h>

#include <regex>

#include "core/random.h"

namespace muster {
namespace {

using Texts = std::vector<std::string>;

TEST(NamePattern, StarsStandForAnyText) {
  EXPECT_EQ(NamePattern("a.b").match("a.b"), Texts{});
  EXPECT_EQ(NamePattern("a.b").match("a.bc"), std::nullopt);
  EXPECT_EQ(NamePattern("*").match("a.b"), Texts{"a.b"});
  EXPECT_EQ(NamePattern("*").match(""), Texts{""});
  EXPECT_EQ(NamePattern("").match(""), Texts{});
  EXPECT_EQ(NamePattern("layers.*.weight").match("layers.0.attention.weight"), Texts{"0.attention"});
  EXPECT_EQ(NamePattern("*.*.weight").match("h.0.c.weight"), (Texts{"h", "0.c"}));
  EXPECT_EQ(NamePattern("a*a").match("a"), std::nullopt);
  EXPECT_EQ(NamePattern("a.+").match("abb"), std::nullopt) << "nothing but * is special";
}

TEST(NamePattern, IsFilledWithWhatAnotherMatched) {
  const auto texts = NamePattern("layers.*.*").match("layers.3.bias");
  ASSERT_TRUE(texts);
  EXPECT_EQ(NamePattern("transformer.h.*.mlp.*").filled(*texts), "transformer.h.3.mlp.bias");
  EXPECT_EQ(NamePattern("constant").filled(*texts), "constant");
}

/// Against the same pattern as a regular expression of lazy groups.
TEST(NamePattern, MatchesAsRegularExpressionsDo) {
  RandomStream random(11);
  std::size_t fits = 0;
  std::size_t several = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string pattern;
    std::string name;
    for (auto n = random.below(7); n > 0; --n) pattern += "ab.**"[random.below(5)];
    for (auto n = random.below(9); n > 0; --n) name += "ab."[random.below(3)];
    std::string regex;
    for (const char c : pattern) regex += c == '*' ? "(.*?)" : c == '.' ? "\\." : std::string(1, c);
    std::smatch groups;
    std::optional<Texts> expected;
    if (std::regex_match(name, groups, std::regex(regex))) {
      expected.emplace();
      for (std::size_t group = 1; group < groups.size(); ++group) expected->push_back(groups[group]);
      ++fits;
      several += groups.size() > 2;
    }
    ASSERT_EQ(NamePattern(pattern).match(name), expected) << "'" << pattern << "' on '" << name << "'";
    if (expected) {
      EXPECT_EQ(NamePattern(pattern).filled(*expected), name);
    }
  }
  std::cout << fits << " fit, " << several << " with several stars\n";
  EXPECT_GT(fits, 500U);
  EXPECT_GT(several, 100U);
}

}  // namespace
}  // namespace muster
