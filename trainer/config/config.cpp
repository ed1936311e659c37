#include "trainer/config/config.h"

#include <algorithm>

#include "core/text.h"
#include "trainer/config/config_table.h"

namespace muster {

std::span<const ConfigKey> config_keys() {
  static const std::vector<ConfigKey> keys = make_config_table();
  return keys;
}

std::vector<std::string> config_sections() {
  std::vector<std::string> sections;
  for (const ConfigKey& key : config_keys()) {
    if (std::find(sections.begin(), sections.end(), key.section) == sections.end())
      sections.push_back(key.section);
  }
  return sections;
}

namespace {

std::vector<Option> options_of(const std::string& section) {
  std::vector<Option> options;
  for (const ConfigKey& key : config_keys()) {
    if (key.section == section) options.push_back(key.option);
  }
  return options;
}

/// A value given as `--set section.key=value`.
struct Override {
  std::string section;
  std::string key;
  YamlNode value;
};

Override parse_override(const std::string& text) {
  const std::size_t equals = text.find('=');
  const std::size_t dot = text.find('.');
  if (equals == std::string::npos || dot == std::string::npos || dot > equals) {
    fail(ErrorCode::kUsage, "--set {}: SECTION.KEY=VALUE was expected, as in --set train.epochs=3", text);
  }
  return {text.substr(0, dot), text.substr(dot + 1, equals - dot - 1),
          YamlNode::parse(text.substr(equals + 1), "--set " + text)};
}

/// The model is named first: its options are what the rest of the section may hold.
Json read_model(const YamlNode* node, std::span<const ModelOptions> models, const YamlNode& document,
                std::span<const Override> overrides) {
  if (node == nullptr) document.fail_here("section 'model' is missing: it needs at least 'name'");
  std::vector<std::string> names;
  for (const ModelOptions& model : models) names.push_back(model.name);
  const YamlNode* given = node->find("name");
  for (const Override& change : overrides) {
    if (change.section == "model" && change.key == "name") given = &change.value;
  }
  if (given == nullptr) node->fail_here("'name' is missing");
  const YamlNode& name_node = *given;
  const std::string name = name_node.as_string();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    name_node.fail_here(fmt::format("there is no model '{}'{}; known: {}", name, did_you_mean(name, names),
                                    join(names, ", ")));
  }
  std::vector<Option> options = options_of("model");
  const std::vector<Option>& own = models[static_cast<std::size_t>(found - names.begin())].options;
  for (const Option& option : own) {
    ensure(std::ranges::none_of(options, [&](const Option& known) { return known.name == option.name; }),
           "the model '{}' has an option '{}', which every model has", name, option.name);
  }
  options.insert(options.end(), own.begin(), own.end());
  Json values = read_options(options, node);
  values["name"] = name;
  return values;
}

const ConfigKey* find_key(const std::string& section, const std::string& name) {
  for (const ConfigKey& key : config_keys()) {
    if (key.section == section && key.option.name == name) return &key;
  }
  return nullptr;
}

void apply_override(Json& values, const Override& change, std::span<const ModelOptions> models) {
  if (const ConfigKey* key = find_key(change.section, change.key); key != nullptr) {
    values[change.section][change.key] = read_option(key->option, change.value);
    return;
  }
  if (change.section == "model") {
    if (change.key == "name") return;  // read_model has it
    for (const ModelOptions& model : models) {
      if (model.name != values.at("model").at("name").get<std::string>()) continue;
      for (const Option& option : model.options) {
        if (option.name != change.key) continue;
        values["model"][change.key] = read_option(option, change.value);
        return;
      }
    }
  }
  std::vector<std::string> known;
  for (const auto& [section, keys] : values.items()) {
    for (const auto& [key, value] : keys.items()) known.push_back(section + "." + key);
  }
  const std::string path = change.section + "." + change.key;
  change.value.fail_here(fmt::format("unknown key '{}'{}", path, did_you_mean(path, known)));
}

void require_given(const Json& values, const YamlNode& document) {
  const auto missing = [&](const char* section, const char* key) {
    return values.at(section).at(key).is_null();
  };
  if (missing("data", "dataset"))
    document.fail_here("'data.dataset' is missing: the directory of the dataset");
  if (missing("train", "epochs") && missing("train", "steps")) {
    document.fail_here("'train.epochs' or 'train.steps' is missing: how long to train");
  }
  if (!missing("train", "epochs") && !missing("train", "steps")) {
    refuse_key(document, "train", "steps",
               "both 'train.epochs' and 'train.steps' are given: leave one out (--set train.epochs=~ takes "
               "it back)");
  }
}

}  // namespace

Config Config::of(const Json& given, std::span<const ModelOptions> models) {
  const std::string where = "the given configuration";
  std::string text;
  try {
    text = given.dump(2);
  } catch (const Json::exception&) {
    throw Error(ErrorCode::kConfig, "holds a text that is not UTF-8", where);
  }
  return parse(YamlNode::parse(text, where), {}, models);  // JSON is YAML
}

Config Config::parse(const YamlNode& document, std::span<const std::string> overrides,
                     std::span<const ModelOptions> models) {
  if (!document.is_map()) document.fail_here("is no config: a map of sections was expected");
  std::vector<Override> changes;
  for (const std::string& text : overrides) changes.push_back(parse_override(text));
  Json values = Json::object();
  for (const std::string& section : config_sections()) {
    const YamlNode* node = document.find(section);
    values[section] = section == "model" ? read_model(node, models, document, changes)
                                         : read_options(options_of(section), node);
  }
  document.refuse_unread();
  for (const Override& change : changes) apply_override(values, change, models);
  require_given(values, document);
  check_config(values, document);
  return Config(std::move(values));
}

Config Config::load(const std::filesystem::path& file, std::span<const std::string> overrides,
                    std::span<const ModelOptions> models) {
  return parse(YamlNode::load(file), overrides, models);
}

Config::Config(Json values, std::span<const ModelOptions> models) : values_(std::move(values)) {
  const auto fill = [&](const std::string& section, const Option& option) {
    if (!values_[section].contains(option.name)) values_[section][option.name] = option.fallback;
  };
  for (const ConfigKey& key : config_keys()) fill(key.section, key.option);
  for (const ModelOptions& model : models) {
    if (values_.at("model").value("name", "") != model.name) continue;
    for (const Option& option : model.options) fill("model", option);
  }
}

const Json& Config::at(const std::string& section, const std::string& key) const {
  const auto found = values_.find(section);
  ensure(found != values_.end() && found->contains(key), "the config has no {}.{}", section, key);
  return found->at(key);
}

std::uint64_t Config::unsigned_at(const std::string& section, const std::string& key) const {
  return at(section, key).get<std::uint64_t>();
}
double Config::number_at(const std::string& section, const std::string& key) const {
  return at(section, key).get<double>();
}
std::string Config::text_at(const std::string& section, const std::string& key) const {
  return at(section, key).get<std::string>();
}

Config Config::with(const std::string& section, const std::string& key, Json value) const {
  Json values = values_;
  values[section][key] = std::move(value);
  return Config(std::move(values));
}

std::vector<ConfigChange> config_changes(const Config& before, const Config& after) {
  std::vector<ConfigChange> changes;
  for (const auto& [section, keys] : after.values().items()) {
    for (const auto& [name, value] : keys.items()) {
      const Json& old_section = before.section(section);
      const ConfigKey* key = find_key(section, name);
      const Json old_value = old_section.value(name, Json(nullptr));
      const bool left_open = value.is_null();
      if (value == old_value || left_open) continue;
      changes.push_back(
          {section + "." + name, old_value, value, key != nullptr ? key->key_class : KeyClass::kIdentity});
    }
  }
  return changes;
}

}  // namespace muster
