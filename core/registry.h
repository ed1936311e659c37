#pragma once
// A registry of named factories: one new file with one registration line adds a model, a transform, a format.

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/text.h"

namespace muster {

/// Named entries of one kind. Filled by static initialisers before main, read-only afterwards, hence
/// thread-safe.
template <typename Entry>
class Registry {
 public:
  /// The registry of this kind; each kind has an entry type of its own. `kind` appears in errors ("model",
  /// "generator").
  static Registry& of_kind(const std::string& kind) {
    static Registry registry(kind);
    ensure(registry.kind_ == kind, "'{}' and '{}' need entry types of their own", kind, registry.kind_);
    return registry;
  }

  /// Adds an entry. Returns true so that a static initialiser can call it. A name given twice is a bug.
  bool add(std::string name, Entry entry) {
    ensure(entries_.emplace(name, std::move(entry)).second, "the {} '{}' is registered twice", kind_, name);
    return true;
  }

  /// The entry of that name; throws Error{kConfig} that lists the known names and points to the nearest.
  const Entry& get(std::string_view name) const {
    const auto found = entries_.find(std::string(name));
    if (found != entries_.end()) return found->second;
    fail(ErrorCode::kConfig, "there is no {} '{}'{}; known: {}", kind_, name, did_you_mean(name, names()),
         join(names(), ", "));
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& [name, entry] : entries_) names.push_back(name);
    return names;
  }

 private:
  explicit Registry(std::string kind) : kind_(std::move(kind)) {}
  std::string kind_;
  std::map<std::string, Entry> entries_;
};

}  // namespace muster
