#include "core/name_pattern.h"

#include <algorithm>

#include "core/error.h"
#include "core/text.h"

namespace muster {

std::size_t NamePattern::stars() const { return static_cast<std::size_t>(std::ranges::count(text_, '*')); }

// Each piece between two stars is taken where it comes first; the last one must end the name. That is enough:
// where any choice fits, so does the earliest.
std::optional<std::vector<std::string>> NamePattern::match(std::string_view name) const {
  const std::vector<std::string> pieces = split(text_, '*');
  if (!name.starts_with(pieces.front())) return std::nullopt;
  std::vector<std::string> texts;
  std::size_t at = pieces.front().size();
  for (std::size_t i = 1; i < pieces.size(); ++i) {
    const bool last = i + 1 == pieces.size();
    if (last && name.size() < at + pieces[i].size()) return std::nullopt;
    const std::size_t found = last ? name.size() - pieces[i].size() : name.find(pieces[i], at);
    if (found == std::string_view::npos || !name.substr(found).starts_with(pieces[i])) return std::nullopt;
    texts.emplace_back(name.substr(at, found - at));
    at = found + pieces[i].size();
  }
  if (at != name.size()) return std::nullopt;
  return texts;
}

std::string NamePattern::filled(const std::vector<std::string>& texts) const {
  ensure(stars() <= texts.size(), "'{}' has more * than there are texts", text_);
  const std::vector<std::string> pieces = split(text_, '*');
  std::string name = pieces.front();
  for (std::size_t i = 1; i < pieces.size(); ++i) name += texts[i - 1] + pieces[i];
  return name;
}

}  // namespace muster
