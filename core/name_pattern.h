#pragma once
// Patterns for dotted names, as people choose among tensors with them.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// "blocks.*.weight": `*` stands for any text, also none, and also with dots; all else for itself. Immutable.
class NamePattern {
 public:
  explicit NamePattern(std::string text) : text_(std::move(text)) {}

  const std::string& text() const { return text_; }
  std::size_t stars() const;
  /// What each `*` stands for in `name`, the first ones as short as can be; nothing if the name is another.
  std::optional<std::vector<std::string>> match(std::string_view name) const;
  bool matches(std::string_view name) const { return match(name).has_value(); }
  /// The name that this pattern means with `texts` for its `*`, of which it has no more than there are texts.
  std::string filled(const std::vector<std::string>& texts) const;

 private:
  std::string text_;
};

}  // namespace muster
