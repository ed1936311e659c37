#include "data_loader/contract/contract_difference.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/text.h"

namespace muster {
namespace {

using Change = ContractDifference::Change;

bool is_input(const Field& field) {
  return field.role == Role::kFeature || (field.role == Role::kTime && !field.transform.empty());
}

std::string shown(const Json& json, const std::string& key) {
  if (!json.contains(key) || json.at(key).is_null()) return "none";
  return json.at(key).is_string() ? json.at(key).get<std::string>() : json.at(key).dump();
}

/// Whether every value that A lets pass passes B's `range` and `allowed` too.
bool passes(const Field& before, const Field& after) {
  if (after.minimum && (!before.minimum || *before.minimum < *after.minimum)) return false;
  if (after.maximum && (!before.maximum || *before.maximum > *after.maximum)) return false;
  if (!after.allowed.empty() &&
      (before.allowed.empty() || !std::ranges::includes(after.allowed, before.allowed)))
    return false;
  const std::set<std::string> texts(after.allowed_texts.begin(), after.allowed_texts.end());
  if (!texts.empty() &&
      (before.allowed_texts.empty() ||
       !std::ranges::all_of(before.allowed_texts, [&](const auto& t) { return texts.contains(t); })))
    return false;
  return true;
}

/// `reads`: whether models can have the field as an input.
void compare_fields(const Field& before, const Json& a, const Field& after, const Json& b, bool reads,
                    std::vector<Change>& changes) {
  const std::set<std::string> read = {"dtype", "length", "shape", "missing", "missing_value", "role", "unit"};
  std::set<std::string> keys;
  for (const auto& [key, value] : a.items()) keys.insert(key);
  for (const auto& [key, value] : b.items()) keys.insert(key);
  for (const std::string& key : keys) {
    const std::string from = shown(a, key);
    const std::string to = shown(b, key);
    if (from == to) continue;
    Change change{before.name, fmt::format("{}: {} → {}", key, from, to)};
    change.breaks_inputs = reads && read.contains(key);
    if (key == "shape" || key == "window")  // another stride makes other rows of the same shape
      change.breaks_inputs = reads && before.shape != after.shape;
    if (key == "range" || key == "allowed") change.stricter = !passes(before, after);
    if (key == "missing") change.stricter = after.missing == Missing::kForbid;
    if (key == "max_missing")
      change.stricter =
          after.max_missing && (!before.max_missing || *after.max_missing < *before.max_missing);
    if (key == "unique") change.stricter = after.unique;
    changes.push_back(std::move(change));
  }
}

}  // namespace

ContractDifference compare(const Contract& before, const Contract& after) {
  ContractDifference difference;
  difference.same_hash = before.hash() == after.hash();
  const Json a = before.to_json();
  const Json b = after.to_json();
  for (std::size_t i = 0; i < before.fields().size(); ++i) {
    const Field& field = before.fields()[i];
    const Field* other = after.find(field.name);
    const auto& never = before.never_features();
    const bool reads = is_input(field) && std::ranges::find(never, field.name) == never.end();
    if (other == nullptr) {
      difference.changes.push_back({field.name, "is gone", reads, false});
      continue;
    }
    const auto place = static_cast<std::size_t>(other - after.fields().data());
    compare_fields(field, a.at("fields")[i], *other, b.at("fields")[place], reads, difference.changes);
  }
  for (const Field& field : after.fields()) {
    if (before.find(field.name) == nullptr)
      difference.changes.push_back({field.name, "is new", false, false});
  }
  for (const char* key : {"splits", "never_features"}) {
    if (a.at(key) != b.at(key))
      difference.changes.push_back({"", fmt::format("{}: {} → {}", key, a.at(key).dump(), b.at(key).dump())});
  }
  if (difference.changes.empty() && !difference.same_hash)
    difference.changes.push_back({"", "the fields are in another order: features come in another order"});
  return difference;
}

bool ContractDifference::fits() const {
  return std::ranges::none_of(changes, [](const Change& change) { return change.breaks_inputs; });
}

Json ContractDifference::to_json() const {
  Json list = Json::array();
  for (const Change& change : changes)
    list.push_back({{"field", change.field},
                    {"change", change.what},
                    {"breaks_inputs", change.breaks_inputs},
                    {"stricter", change.stricter}});
  return {{"changes", std::move(list)}, {"same", same_hash}, {"model_fits", fits()}};
}

std::string ContractDifference::text() const {
  if (same_hash) return "the same contract: a run goes on, a model fits";
  std::vector<std::string> lines;
  for (const Change& change : changes)
    lines.push_back(fmt::format("{}{}{}{}", change.field, change.field.empty() ? "" : "  ", change.what,
                                change.breaks_inputs ? "   (a model that reads it does not fit)"
                                : change.stricter    ? "   (values can be refused that passed)"
                                                     : ""));
  lines.emplace_back(fits()
                         ? "a model of A's data fits: predict can use B's; a run of A does not go on with B "
                           "(another contract is another dataset)"
                         : "a model of A's data that reads these fields does not fit B's");
  return join(lines, "\n");
}

}  // namespace muster
