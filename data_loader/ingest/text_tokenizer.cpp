#include "data_loader/ingest/text_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "core/error.h"
#include "core/text.h"

namespace muster {

void TextPosition::advance(std::string_view text) {
  for (const char c : text) {
    const bool goes_on = (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;  // inside a character
    if (c == '\n') {
      ++line;
      column = 1;
    } else if (!goes_on) {
      ++column;
    }
  }
}

namespace {

/// Bytes of the character that well-formed UTF-8 begins with.
std::size_t character_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

std::int64_t code_point(std::string_view character) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 1) return byte(0);
  std::int64_t value = byte(0) & (0xFFU >> (character.size() + 1));
  for (std::size_t i = 1; i < character.size(); ++i) value = value << 6 | (byte(i) & 0x3FU);
  return value;
}

class Bytes : public TextTokenizer {
 public:
  Taken take(std::string_view text, bool) const override {
    Taken taken{{}, text.size(), ""};
    for (const char c : text) taken.tokens.push_back(static_cast<unsigned char>(c));
    return taken;
  }
  std::int64_t greatest() const override { return 255; }
};

class Characters : public TextTokenizer {
 public:
  explicit Characters(std::int64_t greatest) : greatest_(greatest) {}

  Taken take(std::string_view text, bool) const override {
    Taken taken;
    while (taken.bytes < text.size()) {
      const std::string_view rest = text.substr(taken.bytes);
      const std::string_view character = rest.substr(0, character_length(rest));
      const std::int64_t value = code_point(character);
      if (value > greatest_) {
        taken.fault = fmt::format("{} is U+{:04X}, beyond the greatest token, {}: a wider dtype holds it",
                                  readable_text(character), value, greatest_);
        return taken;
      }
      taken.tokens.push_back(value);
      taken.bytes += character.size();
    }
    return taken;
  }
  std::int64_t greatest() const override { return greatest_; }

 private:
  std::int64_t greatest_;
};

class Vocabulary : public TextTokenizer {
 public:
  Vocabulary(std::vector<std::string> entries, std::optional<std::int64_t> unknown)
      : entries_(std::move(entries)), unknown_(unknown) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const bool is_new = ids_.emplace(entries_[i], static_cast<std::int64_t>(i)).second;
      ensure(is_new && !entries_[i].empty(), "entry {} of a vocabulary is empty or there twice", i);
      lengths_.insert(entries_[i].size());
    }
  }

  Taken take(std::string_view text, bool last) const override {
    Taken taken;
    const std::size_t longest = lengths_.empty() ? 0 : *lengths_.begin();
    while (taken.bytes < text.size()) {
      const std::string_view rest = text.substr(taken.bytes);
      if (!last && rest.size() < longest) break;  // a longer entry may fit once more of it is there
      const auto [id, bytes] = longest_entry(rest);
      if (bytes == 0) {
        taken.fault =
            fmt::format("no entry of the vocabulary fits {} (`unknown: …` says which number it then is)",
                        readable_text(rest.substr(0, character_length(rest))));
        return taken;
      }
      taken.tokens.push_back(id);
      taken.bytes += bytes;
    }
    return taken;
  }
  std::int64_t greatest() const override {
    return std::max(static_cast<std::int64_t>(entries_.size()) - 1, unknown_.value_or(0));
  }

 private:
  struct Entry {
    std::int64_t id = 0;
    std::size_t bytes = 0;  ///< 0: none fits
  };
  Entry longest_entry(std::string_view rest) const {
    for (const std::size_t length : lengths_) {
      if (length > rest.size()) continue;
      if (const auto found = ids_.find(rest.substr(0, length)); found != ids_.end())
        return {found->second, length};
    }
    return unknown_ ? Entry{*unknown_, character_length(rest)} : Entry{};
  }

  std::vector<std::string> entries_;
  std::optional<std::int64_t> unknown_;
  std::unordered_map<std::string_view, std::int64_t> ids_;  ///< of texts in entries_
  std::set<std::size_t, std::greater<>> lengths_;           ///< that entries have, in bytes
};

}  // namespace

std::unique_ptr<TextTokenizer> make_byte_tokenizer() { return std::make_unique<Bytes>(); }

std::unique_ptr<TextTokenizer> make_character_tokenizer(std::int64_t greatest) {
  return std::make_unique<Characters>(greatest);
}

std::unique_ptr<TextTokenizer> make_vocabulary_tokenizer(std::vector<std::string> entries,
                                                         std::optional<std::int64_t> unknown) {
  return std::make_unique<Vocabulary>(std::move(entries), unknown);
}

}  // namespace muster
