// Bytes, characters and vocabulary entries, in one piece and in any pieces.
#include "data_loader/ingest/text_tokenizer.h"

#include <gtest/gtest.h>

#include <map>

#include "core/random.h"
#include "core/text.h"

namespace muster::testing {
namespace {

using Tokens = std::vector<std::int64_t>;

Tokens all_of(const TextTokenizer& tokenizer, std::string_view text) {
  const TextTokenizer::Taken taken = tokenizer.take(text, true);
  EXPECT_EQ(taken.fault, "");
  EXPECT_EQ(taken.bytes, text.size());
  return taken.tokens;
}

TEST(TextTokenizerTest, BytesAreTheirOwnNumbers) {
  EXPECT_EQ(all_of(*make_byte_tokenizer(), std::string("a\0\xff\n", 4)), (Tokens{97, 0, 255, 10}));
  EXPECT_EQ(make_byte_tokenizer()->greatest(), 255);
}

TEST(TextTokenizerTest, CharactersAreCodePoints) {
  EXPECT_EQ(all_of(*make_character_tokenizer(0x10FFFF), "aé€😀\n"),
            (Tokens{'a', 0xE9, 0x20AC, 0x1F600, '\n'}));
  const auto taken = make_character_tokenizer(255)->take("aé€b", true);
  EXPECT_EQ(taken.tokens, (Tokens{'a', 0xE9}));
  EXPECT_NE(taken.fault.find("'€' is U+20AC, beyond the greatest token, 255"), std::string::npos)
      << taken.fault;
}

TEST(TextTokenizerTest, TheLongestEntryWins) {
  const auto tokenizer = make_vocabulary_tokenizer({"a", "ab", "abcd", "é", "c"}, std::nullopt);
  EXPECT_EQ(all_of(*tokenizer, "abcdabcaé"), (Tokens{2, 1, 4, 0, 3}));
  EXPECT_EQ(tokenizer->greatest(), 4);
  const auto taken = tokenizer->take("a€b", true);
  EXPECT_EQ(taken.tokens, Tokens{0});
  EXPECT_NE(taken.fault.find("no entry of the vocabulary fits '€'"), std::string::npos) << taken.fault;
  EXPECT_EQ(all_of(*make_vocabulary_tokenizer({"a"}, 7), "a€ba"), (Tokens{0, 7, 7, 0}))
      << "a character that is unknown is one token";
}

TEST(TextTokenizerTest, WaitsForTextThatCouldChangeAToken) {
  const auto tokenizer = make_vocabulary_tokenizer({"a", "abc"}, 9);
  const auto taken = tokenizer->take("aab", false);
  EXPECT_EQ(taken.tokens, Tokens{0});
  EXPECT_EQ(taken.bytes, 1U);
}

TEST(TextTokenizerTest, PiecesMakeTheSameTokensAsTheWhole) {
  RandomStream random(random_key(5, Purpose::kGenerate, {}));
  const std::vector<std::string> letters = {"a", "b", "é", "€", "😀"};
  std::map<std::string, int> hit;
  for (int i = 0; i < 300; ++i) {
    std::vector<std::string> entries;
    for (std::uint64_t k = 1 + random.below(6); k > 0; --k) {
      std::string entry;
      for (std::uint64_t n = 1 + random.below(4); n > 0; --n) entry += letters[random.below(letters.size())];
      if (std::find(entries.begin(), entries.end(), entry) == entries.end()) entries.push_back(entry);
    }
    std::string text;
    for (std::uint64_t n = random.below(40); n > 0; --n) text += letters[random.below(letters.size())];
    const auto tokenizer = make_vocabulary_tokenizer(entries, 99);
    const Tokens whole = all_of(*tokenizer, text);
    Tokens pieces;
    std::string waiting;
    for (std::size_t at = 0; at < text.size();) {
      std::size_t count = std::min<std::size_t>(1 + random.below(9), text.size() - at);
      count = utf8_prefix(std::string_view(text).substr(at, count));  // pieces are of whole characters
      waiting += text.substr(at, count);
      at += count;
      const auto taken = tokenizer->take(waiting, at == text.size());
      pieces.insert(pieces.end(), taken.tokens.begin(), taken.tokens.end());
      hit["a piece is kept waiting"] += at < text.size() && taken.bytes < waiting.size() ? 1 : 0;
      waiting.erase(0, taken.bytes);
    }
    ASSERT_EQ(pieces, whole) << text;
    hit["unknown"] += std::find(whole.begin(), whole.end(), 99) != whole.end() ? 1 : 0;
    hit["a longer entry wins"] += whole.size() < text.size() && !whole.empty() && whole[0] != 99 ? 1 : 0;
  }
  EXPECT_EQ(hit.size(), 3U);
  for (const auto& [edge, times] : hit) {
    std::cout << edge << ": " << times << "\n";
    EXPECT_GT(times, 0) << edge;
  }
}

TEST(TextTokenizerTest, PositionsCountLinesAndCharacters) {
  TextPosition position;
  position.advance("ab\né");
  EXPECT_EQ(position.line, 2U);
  EXPECT_EQ(position.column, 2U);
}

}  // namespace
}  // namespace muster::testing
