#include "trainer/checkpoint/weight_names.h"

#include <algorithm>

#include "core/error.h"
#include "core/text.h"

namespace muster {
namespace {

[[noreturn]] void refuse(std::string_view key, const std::string& text, std::span<const WeightNames> known) {
  std::vector<std::string> names;
  for (const WeightNames& list : known) names.push_back(list.name);
  fail(ErrorCode::kConfig,
       "{}: '{}' is no rule{}: OURS = THEIRS was expected, or OURS = THEIRS transposed{}{}", key, text,
       did_you_mean(text, names),
       names.empty() ? "" : ", or a name for all of a model's: ", join(names, ", "));
}

/// `prefixes`: of theirs.
NameRule parse_rule(std::string_view key, const std::string& text, std::size_t given,
                    const std::vector<std::string>& prefixes, std::span<const WeightNames> known) {
  constexpr std::string_view kTransposed = " transposed";
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) refuse(key, text, known);
  std::string_view theirs = trim(std::string_view(text).substr(equals + 1));
  const bool transposed = theirs.ends_with(kTransposed);
  if (transposed) theirs = trim(theirs.substr(0, theirs.size() - kTransposed.size()));
  NameRule rule{
      NamePattern(std::string(trim(std::string_view(text).substr(0, equals)))), {}, transposed, given};
  for (const std::string& prefix : prefixes) rule.theirs.emplace_back(prefix + std::string(theirs));
  if (rule.ours.text().empty() || theirs.empty() || rule.theirs.front().stars() > rule.ours.stars()) {
    fail(ErrorCode::kConfig, "{}: '{}' needs a name on both sides, and no more * right than left", key, text);
  }
  return rule;
}

}  // namespace

std::vector<NameRule> parse_name_rules(std::string_view key, const std::vector<std::string>& texts,
                                       std::span<const WeightNames> known) {
  std::vector<NameRule> rules;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto list =
        std::ranges::find_if(known, [&](const WeightNames& names) { return names.name == texts[i]; });
    if (list == known.end()) {
      rules.push_back(parse_rule(key, texts[i], i, {""}, known));
      continue;
    }
    for (const std::string& rule : list->rules)
      rules.push_back(parse_rule(key, rule, i, list->prefixes, known));
  }
  return rules;
}

ForeignName foreign_name(const std::string& ours, const std::vector<NameRule>& rules, std::size_t texts) {
  for (const NameRule& rule : rules) {
    const auto stars = rule.ours.match(ours);
    if (!stars) continue;
    ForeignName foreign{{}, rule.transposed, rule.given};
    for (const NamePattern& theirs : rule.theirs) foreign.names.push_back(theirs.filled(*stars));
    return foreign;
  }
  return {{ours}, false, texts};
}

void refuse_unused_rules(std::string_view key, const std::vector<std::string>& texts,
                         const std::vector<bool>& used, const std::vector<std::string>& names) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (used[i]) continue;
    fail(ErrorCode::kConfig,
         "{}: '{}' fits no tensor of the model that an earlier rule does not take; it has {}", key, texts[i],
         some_of(names));
  }
}

}  // namespace muster
