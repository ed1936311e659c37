#pragma once
// What a model's tensors are called elsewhere.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/name_pattern.h"

namespace muster {

/// "OURS = THEIRS", or "OURS = THEIRS transposed" for a matrix that lies the other way there; * for any text.
struct NameRule {
  NamePattern ours;
  NamePattern theirs;
  bool transposed = false;
};

/// Error{kConfig} for what is no rule; `key`: where it was given, for the message.
std::vector<NameRule> parse_name_rules(std::string_view key, const std::vector<std::string>& texts);

/// One of our tensors, there.
struct ForeignName {
  std::string name;
  bool transposed = false;
  std::size_t rule = 0;  ///< its number, or how many there are where none fits: the name is ours
};

/// By the first rule that fits.
ForeignName foreign_name(const std::string& ours, const std::vector<NameRule>& rules);

/// Error{kConfig} for the first of `rules` (of `key`) that is not `used`: it fits none of the `names`, or
/// only such as an earlier rule took.
void refuse_unused_rules(std::string_view key, const std::vector<std::string>& rules,
                         const std::vector<bool>& used, const std::vector<std::string>& names);

}  // namespace muster
