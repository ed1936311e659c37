#include "data_loader/contract.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/text.h"

namespace muster {

std::uint64_t Field::values_per_row() const {
  std::uint64_t values = 1;
  for (const std::uint64_t extent : shape) values *= extent;
  return values;
}

std::uint64_t Field::bytes_per_row() const { return values_per_row() * size_of(dtype); }

const Field* Contract::find(std::string_view name) const {
  const auto found =
      std::find_if(fields_.begin(), fields_.end(), [&](const Field& field) { return field.name == name; });
  return found == fields_.end() ? nullptr : &*found;
}

const Field& Contract::field(std::string_view name) const {
  if (const Field* found = find(name)) return *found;
  std::vector<std::string> names;
  for (const Field& field : fields_) names.push_back(field.name);
  fail(ErrorCode::kConfig, "the contract has no field '{}'{}; it has: {}", name, did_you_mean(name, names),
       join(names, ", "));
}

const Field* Contract::only(Role role) const {
  const auto found =
      std::find_if(fields_.begin(), fields_.end(), [&](const Field& field) { return field.role == role; });
  return found == fields_.end() ? nullptr : &*found;
}

std::vector<std::string> Contract::split_names() const {
  std::vector<std::string> names;
  if (const auto* time = std::get_if<TimeSplit>(&splits_)) {
    for (const TimeSplit::Interval& interval : time->intervals) names.push_back(interval.name);
  } else {
    for (const FractionSplit::Share& share : std::get<FractionSplit>(splits_).shares)
      names.push_back(share.name);
  }
  return names;
}

namespace {

/// Whole numbers without a point, so that 1 and 1.0 are the same contract.
Json number(double value) {
  if (std::trunc(value) == value && std::abs(value) <= 0x1p53) return static_cast<std::int64_t>(value);
  return value;
}

Json bound(const std::optional<double>& value) { return value ? number(*value) : Json(); }

Json field_to_json(const Field& field) {
  static constexpr std::array<const char*, 5> kRoles = {"feature", "label", "time", "key", "weight"};
  Json json = {{"name", field.name},
               {"path", field.path},
               {"dtype", to_string(field.dtype)},
               {"shape", field.shape},
               {"missing", field.missing == Missing::kForbid ? "forbid" : "indicator"},
               {"role", kRoles[static_cast<std::size_t>(field.role)]}};
  if (!field.unit.empty()) json["unit"] = field.unit;
  if (!field.transform.empty()) json["transform"] = field.transform;
  if (field.minimum || field.maximum) json["range"] = {bound(field.minimum), bound(field.maximum)};
  for (const double value : field.allowed) json["allowed"].push_back(number(value));
  return json;
}

Json splits_to_json(const SplitRule& rule) {
  if (const auto* fractions = std::get_if<FractionSplit>(&rule)) {
    Json json = {{"by", "fraction"}, {"seed", fractions->seed}};
    if (!fractions->key.empty()) json.update({{"by", "key"}, {"field", fractions->key}});
    for (const FractionSplit::Share& share : fractions->shares) json[share.name] = number(share.fraction);
    return json;
  }
  const auto& time = std::get<TimeSplit>(rule);
  Json json = {{"by", "time"}, {"field", time.field}, {"gap_seconds", time.gap}};
  for (const TimeSplit::Interval& interval : time.intervals) {
    Json& entry = json[interval.name] = Json::object();
    if (interval.from) entry["from"] = *interval.from;
    if (interval.until) entry["until"] = *interval.until;
  }
  return json;
}

/// The contract's YAML from to_json's form; the fields stay in their order.
std::string yaml_text(const Json& json, const std::string& where) {
  std::string text = fmt::format("version: {}\nfields:\n", member<Json>(json, "version", where).dump());
  for (Json field : member<std::vector<Json>>(json, "fields", where)) {
    text += fmt::format("  {}:\n", Json(member<std::string>(field, "name", where)).dump());
    field.erase("name");
    if (field.empty()) text += "    {}\n";
    for (const auto& [key, value] : field.items()) {
      text += "    " + to_yaml(Json::object({{key, value}}));
    }
  }
  Json rest = json;
  rest.erase("fields");
  rest.erase("version");
  return text + to_yaml(rest);
}

}  // namespace

Json Contract::to_json() const {
  Json fields = Json::array();
  for (const Field& field : fields_) fields.push_back(field_to_json(field));
  return {{"version", 1},
          {"fields", std::move(fields)},
          {"never_features", never_features_},
          {"splits", splits_to_json(splits_)}};
}

Sha256 Contract::hash() const { return sha256(canonical(to_json())); }

std::string Contract::to_yaml() const { return yaml_text(to_json(), "contract"); }

Contract Contract::from_json(const Json& json, const std::string& where) {
  // One parser, so that what a checkpoint carries obeys the same rules as what people write.
  try {
    return parse(YamlNode::parse(yaml_text(json, where), "the contract"));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kStorage) throw;
    throw Error(ErrorCode::kStorage, fmt::format("holds a contract that is not valid: {}", error.what()),
                where);
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::kStorage, fmt::format("holds a contract that is not valid: {}", error.what()),
                where);
  }
}

Contract Contract::load(const std::filesystem::path& file) { return parse(YamlNode::load(file)); }

}  // namespace muster
