#include "trainer/config/config.h"

#include "core/text.h"
#include "core/yaml.h"
#include "launch/invocation.h"
#include "trainer/loop/trainer.h"

namespace muster {
namespace {

const char* class_name(KeyClass key_class) {
  switch (key_class) {
    case KeyClass::kIdentity:
      return "identity: another value is another run";
    case KeyClass::kTrajectory:
      return "trajectory: on resume only with --allow";
    case KeyClass::kFree:
      break;
  }
  return "free: may change on resume";
}

Json explain_option(const std::string& path, const Option& option, const std::string& class_text) {
  Json json = {{"key", path},
               {"type", to_string(option.type)},
               {"default", option.fallback},
               {"help", option.help},
               {"resume", class_text}};
  if (!option.choices.empty()) json["choices"] = option.choices;
  return json;
}

std::vector<Json> all_keys() {
  std::vector<Json> keys;
  for (const ConfigKey& key : config_keys())
    keys.push_back(explain_option(key.path(), key.option, class_name(key.key_class)));
  for (const ModelOptions& model : registered_model_options()) {
    for (const Option& option : model.options) {
      keys.push_back(explain_option("model." + option.name, option, class_name(KeyClass::kIdentity)));
      keys.back()["model"] = model.name;
    }
  }
  std::vector<std::string> names;
  for (const ModelOptions& model : registered_model_options()) names.push_back(model.name);
  keys.push_back({{"key", "model.name"},
                  {"type", "text"},
                  {"default", nullptr},
                  {"help", "the model to train"},
                  {"resume", class_name(KeyClass::kIdentity)},
                  {"choices", names}});
  return keys;
}

std::string describe(const Json& key) {
  const std::string model =
      key.contains("model") ? fmt::format(" (model {})", key.at("model").get<std::string>()) : "";
  const Json& fallback = key.at("default");
  std::string text =
      fmt::format("{}{}\n    {}\n    {}, default {}; {}", key.at("key").get<std::string>(), model,
                  key.at("help").get<std::string>(), key.at("type").get<std::string>(),
                  fallback.is_null() ? "none" : fallback.dump(), key.at("resume").get<std::string>());
  if (key.contains("choices"))
    text += "\n    one of: " + join(key.at("choices").get<std::vector<std::string>>(), ", ");
  return text;
}

int explain(Console& console, const std::string& wanted) {
  Json found = Json::array();
  std::vector<std::string> known;
  std::vector<std::string> texts;
  for (const Json& key : all_keys()) {
    const auto path = key.at("key").get<std::string>();
    known.push_back(path);
    const bool match = wanted.empty() || path == wanted || path.starts_with(wanted + ".") ||
                       path.ends_with("." + wanted);  // a section, or a key without its section
    if (!match) continue;
    found.push_back(key);
    texts.push_back(describe(key));
  }
  if (found.empty()) fail(ErrorCode::kUsage, "there is no key '{}'{}", wanted, did_you_mean(wanted, known));
  console.result({{"keys", found}}, join(texts, "\n"));
  return 0;
}

}  // namespace

void add_config(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      add_command(app, invocation, "config", "explain configuration keys, or check and resolve a file",
                  "muster config --explain batch.lanes");
  struct Flags {
    std::string file;
    std::string key;
    std::vector<std::string> overrides;
  };
  auto flags = std::make_shared<Flags>();
  command->add_option("CONFIG", flags->file, "a configuration to check and print with all defaults");
  CLI::Option* explain_flag = command->add_option("--explain", flags->key, "a key or section; nothing: all")
                                  ->expected(0, 1)
                                  ->default_str("");
  command->add_option("--set", flags->overrides, "SECTION.KEY=VALUE over the file's")
      ->take_all()
      ->allow_extra_args(false);
  command->callback([&invocation, flags, explain_flag] {
    const bool explaining = explain_flag->count() > 0;
    invocation.action = [&invocation, flags, explaining] {
      Console console(invocation.json, false);
      if (explaining || flags->file.empty()) return explain(console, flags->key);
      const Config config = Config::load(flags->file, flags->overrides, registered_model_options());
      console.result(config.values(), to_yaml(config.values()));
      return 0;
    };
  });
}

}  // namespace muster
