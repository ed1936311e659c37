#pragma once
// Text to numbers: bytes, characters, or entries of a given vocabulary.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// Where in a text: line and character, both from 1.
struct TextPosition {
  std::uint64_t line = 1;
  std::uint64_t column = 1;
  /// Past UTF-8 text, or bytes.
  void advance(std::string_view text);
};

/// Cuts a text into tokens, front to back. Knows no files; one thread.
class TextTokenizer {
 public:
  struct Taken {
    std::vector<std::int64_t> tokens;
    std::size_t bytes = 0;  ///< of the text, from its front, that these are made of
    std::string fault;      ///< what is wrong with what follows, or ""
  };
  virtual ~TextTokenizer() = default;
  /// Takes what the text behind its end cannot change any more; all of it if it is the `last`. Well-formed
  /// UTF-8, but for bytes. Tokens lie in [0, greatest()].
  virtual Taken take(std::string_view text, bool last) const = 0;
  /// The greatest token that it can make.
  virtual std::int64_t greatest() const = 0;
};

/// Each byte as it is, 0 to 255.
std::unique_ptr<TextTokenizer> make_byte_tokenizer();
/// Each Unicode code point; those beyond `greatest` are faults.
std::unique_ptr<TextTokenizer> make_character_tokenizer(std::int64_t greatest);
/// The number (from 0) of the longest entry that the text goes on with. What none begins is a fault or,
/// character by character, `unknown`. Entries are not empty, and no two are equal.
std::unique_ptr<TextTokenizer> make_vocabulary_tokenizer(std::vector<std::string> entries,
                                                         std::optional<std::int64_t> unknown);

}  // namespace muster
