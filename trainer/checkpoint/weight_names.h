#pragma once
// What a model's tensors are called elsewhere.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/name_pattern.h"
#include "models/model.h"

namespace muster {

/// "OURS = THEIRS", or "OURS = THEIRS transposed" for a matrix that lies the other way there; * for any text.
struct NameRule {
  NamePattern ours;
  std::vector<NamePattern> theirs;  ///< the first is written, any of them read
  bool transposed = false;
  std::size_t given = 0;  ///< number of the text that it comes from
};

/// Each text is a rule, or the name of one of the `known` lists of rules (ModelFactory::known_names).
/// Error{kConfig} for what is neither; `key`: where it was given, for the message.
std::vector<NameRule> parse_name_rules(std::string_view key, const std::vector<std::string>& texts,
                                       std::span<const WeightNames> known);

/// One of our tensors, there.
struct ForeignName {
  std::vector<std::string> names;  ///< the first is written, any of them read
  bool transposed = false;
  std::size_t given = 0;  ///< number of the rule's text, or how many there are where none fits: our name
};

/// By the first rule that fits; `texts`: of how many the rules come.
ForeignName foreign_name(const std::string& ours, const std::vector<NameRule>& rules, std::size_t texts);

/// Error{kConfig} for the first of `texts` (of `key`) that is not `used`: it fits none of the `names`, or
/// only such as an earlier one took.
void refuse_unused_rules(std::string_view key, const std::vector<std::string>& texts,
                         const std::vector<bool>& used, const std::vector<std::string>& names);

}  // namespace muster
