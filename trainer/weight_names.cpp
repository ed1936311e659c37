#include "trainer/weight_names.h"

#include <algorithm>

#include "core/error.h"
#include "core/text.h"

namespace muster {
namespace {

NameRule parse_rule(std::string_view key, const std::string& text) {
  constexpr std::string_view kTransposed = " transposed";
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) {
    fail(ErrorCode::kConfig, "{}: '{}' is no rule: OURS = THEIRS was expected, or OURS = THEIRS transposed",
         key, text);
  }
  std::string_view theirs = trim(std::string_view(text).substr(equals + 1));
  const bool transposed = theirs.ends_with(kTransposed);
  if (transposed) theirs = trim(theirs.substr(0, theirs.size() - kTransposed.size()));
  NameRule rule{NamePattern(std::string(trim(std::string_view(text).substr(0, equals)))),
                NamePattern(std::string(theirs)), transposed};
  if (rule.ours.text().empty() || rule.theirs.text().empty() || rule.theirs.stars() > rule.ours.stars()) {
    fail(ErrorCode::kConfig, "{}: '{}' needs a name on both sides, and no more * right than left", key, text);
  }
  return rule;
}

}  // namespace

std::vector<NameRule> parse_name_rules(std::string_view key, const std::vector<std::string>& texts) {
  std::vector<NameRule> rules;
  for (const std::string& text : texts) rules.push_back(parse_rule(key, text));
  return rules;
}

ForeignName foreign_name(const std::string& ours, const std::vector<NameRule>& rules) {
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (const auto texts = rules[i].ours.match(ours))
      return {rules[i].theirs.filled(*texts), rules[i].transposed, i};
  }
  return {ours, false, rules.size()};
}

void refuse_unused_rules(std::string_view key, const std::vector<std::string>& rules,
                         const std::vector<bool>& used, const std::vector<std::string>& names) {
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (used[i]) continue;
    fail(ErrorCode::kConfig,
         "{}: '{}' fits no tensor of the model that an earlier rule does not take; it has {}", key, rules[i],
         some_of(names));
  }
}

}  // namespace muster
