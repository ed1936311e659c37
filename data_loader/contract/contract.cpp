#include "data_loader/contract/contract.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/text.h"
#include "data_loader/contract/transform.h"

namespace muster {

std::string_view to_string(Missing missing) {
  static constexpr std::array<const char*, 4> kNames = {"forbid", "impute", "indicator", "drop"};
  return kNames[static_cast<std::size_t>(missing)];
}

std::uint64_t Field::values_per_row() const {
  std::uint64_t values = 1;
  for (const std::uint64_t extent : shape) values *= extent;
  return values;
}

std::uint64_t Field::bytes_per_row() const { return values_per_row() * value_bytes(); }

std::string Field::location() const { return member.empty() ? path : path + "." + join(member, "."); }

Field Field::stored() const {
  Field field = *this;
  if (!window) return field;
  field.window.reset();
  field.shape.clear();
  return field;
}

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

std::vector<std::size_t> Contract::labels() const {
  std::vector<std::size_t> labels;
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    if (fields_[i].role == Role::kLabel) labels.push_back(i);
  }
  return labels;
}

const Field* Contract::stratified_by() const {
  const auto* rule = std::get_if<FractionSplit>(&splits_);
  if (rule == nullptr || !rule->stratified) return nullptr;
  return rule->label.empty() ? only(Role::kLabel) : find(rule->label);
}

std::vector<Field> Contract::stored_fields() const {
  std::vector<Field> stored;
  for (const Field& field : fields_) {
    if (field.window != fields_.front().window)
      fail(ErrorCode::kConfig,
           "'{}' and '{}' cannot be written together: where one is windows of tokens, all are, of the same "
           "length "
           "and stride",
           fields_.front().name, field.name);
    stored.push_back(field.stored());
  }
  return stored;
}

std::vector<std::string> Contract::split_names() const {
  std::vector<std::string> names;
  std::visit(
      [&](const auto& rule) {
        if constexpr (requires { rule.intervals; }) {
          for (const TimeSplit::Interval& interval : rule.intervals) names.push_back(interval.name);
        } else {
          for (const FractionSplit::Share& share : rule.shares) names.push_back(share.name);
        }
      },
      splits_);
  return names;
}

namespace {

/// Whole numbers without a point, so that 1 and 1.0 are the same contract.
Json number(double value) {
  if (std::trunc(value) == value && std::abs(value) <= 0x1p53) return static_cast<std::int64_t>(value);
  return value;
}

Json bound(const std::optional<double>& value) { return value ? number(*value) : Json(); }

/// A name alone where all options are the defaults.
Json step_to_json(const TransformStep& step) {
  if (step.options == read_options(transforms().get(step.name).options, nullptr)) return step.name;
  Json options = Json::object();
  for (const auto& [name, value] : step.options.items())
    options[name] = value.is_number_float() ? number(value.get<double>()) : value;
  return {{step.name, std::move(options)}};
}

Json imputation_to_json(const Field& field) {
  switch (field.impute.kind) {
    case Imputation::Kind::kMean:
      return "mean";
    case Imputation::Kind::kMedian:
      return "median";
    case Imputation::Kind::kMode:
      return "mode";
    case Imputation::Kind::kValue:
      break;
  }
  return {{"value", field.is_text() ? Json(field.impute.text) : number(field.impute.value)}};
}

/// What says something beyond the defaults.
void add_values(Json& json, const Field& field) {
  if (!field.unit.empty()) json["unit"] = field.unit;
  if (field.is_text()) json["length"] = field.length;
  if (field.minimum || field.maximum) json["range"] = {bound(field.minimum), bound(field.maximum)};
  for (const double value : field.allowed) json["allowed"].push_back(number(value));
  for (const std::string& text : field.allowed_texts) json["allowed"].push_back(text);
  if (field.missing_value) json["missing_value"] = number(*field.missing_value);
  if (field.max_missing) json["max_missing"] = number(*field.max_missing);
  const Imputation::Kind usual = field.is_text() ? Imputation::Kind::kMode : Imputation::Kind::kMean;
  if (field.impute.kind != usual) json["impute"] = imputation_to_json(field);
  if (field.unique) json["unique"] = true;
  if (!field.known_at.empty()) json["known_at"] = field.known_at;
  if (field.transform.size() == 1) json["transform"] = step_to_json(field.transform.front());
  if (field.transform.size() > 1) {
    for (const TransformStep& step : field.transform) json["transform"].push_back(step_to_json(step));
  }
}

Json field_to_json(const Field& field) {
  static constexpr std::array<const char*, 5> kRoles = {"feature", "label", "time", "key", "weight"};
  Json json = {{"name", field.name},
               {"path", field.path},
               {"dtype", to_string(field.dtype)},
               {"shape", field.shape},
               {"missing", to_string(field.missing)},
               {"role", kRoles[static_cast<std::size_t>(field.role)]}};
  if (field.is_text() || field.window) json.erase("shape");
  if (field.member.size() == 1) json["member"] = field.member.front();
  if (field.member.size() > 1) json["member"] = field.member;
  if (field.window) json["window"] = {{"length", field.window->length}, {"stride", field.window->stride}};
  add_values(json, field);
  return json;
}

Json splits_to_json(const SplitRule& rule) {
  const auto add_shares = [](Json& json, const std::vector<FractionSplit::Share>& shares) {
    for (const FractionSplit::Share& share : shares) json[share.name] = number(share.fraction);
  };
  if (const auto* fractions = std::get_if<FractionSplit>(&rule)) {
    Json json = {{"by", "fraction"}, {"seed", fractions->seed}};
    if (!fractions->key.empty()) json.update({{"by", "key"}, {"field", fractions->key}});
    if (fractions->stratified) json["stratified"] = true;
    if (!fractions->label.empty()) json["label"] = fractions->label;
    add_shares(json, fractions->shares);
    return json;
  }
  if (const auto* order = std::get_if<OrderSplit>(&rule)) {
    Json json = {{"by", "order"}, {"gap_rows", order->gap_rows}};
    add_shares(json, order->shares);
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
      const std::string entry = to_yaml(Json::object({{key, value}}));
      for (const std::string& line : split(trim(entry), '\n')) text += "    " + line + "\n";
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

Contract Contract::without(std::span<const std::string> names) const {
  const auto gone = [&](const std::string& name) { return std::ranges::find(names, name) != names.end(); };
  Contract less = *this;
  std::erase_if(less.fields_, [&](const Field& field) { return gone(field.name); });
  std::erase_if(less.never_features_, gone);
  for (Field& field : less.fields_) {
    if (gone(field.known_at)) field.known_at.clear();
  }
  if (auto* shares = std::get_if<FractionSplit>(&less.splits_); shares != nullptr && shares->stratified) {
    const Field* label = stratified_by();
    if (label != nullptr && gone(label->name)) {
      shares->stratified = false;
      shares->label.clear();
    }
  }
  // The parser knows what goes together.
  return parse(YamlNode::parse(less.to_yaml(), fmt::format("the contract without {}", join(names, ", "))));
}

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

std::vector<std::size_t> fields_by_name(const Contract& contract) {
  const std::vector<Field>& fields = contract.fields();
  std::vector<std::size_t> order(fields.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return fields[a].name < fields[b].name; });
  return order;
}

}  // namespace muster
