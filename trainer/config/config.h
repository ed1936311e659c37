#pragma once
// The configuration of a run: one table serves the parser, the defaults, `muster config --explain` and
// resume.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "core/option.h"
#include "core/yaml.h"

namespace muster {

/// What a change of a key means when a run is resumed.
enum class KeyClass {
  kIdentity,    ///< another run: refused
  kTrajectory,  ///< the same run on another path: needs --allow KEY, recorded
  kFree,        ///< never matters to the result
};

struct ConfigKey {
  std::string section;
  Option option;
  KeyClass key_class = KeyClass::kFree;
  std::string path() const { return section + "." + option.name; }
};

/// All keys but those of `model`, which belong to the model named (see ConfigSource).
std::span<const ConfigKey> config_keys();
std::vector<std::string> config_sections();

/// The options that a model adds to section `model`. A seam: the trainer's config knows no model.
struct ModelOptions {
  std::string name;
  std::vector<Option> options;
};

/// A resolved configuration: every key has a value. Immutable.
class Config {
 public:
  /// Loads a file, then `overrides` ("a.b=c", the value in YAML; `~` leaves open what has no default).
  /// `models`: what `model.name` may be. Error{kUsage} for an override that is no a.b=c, else Error{kConfig}
  /// at the value or key.
  static Config load(const std::filesystem::path& file, std::span<const std::string> overrides,
                     std::span<const ModelOptions> models);
  static Config parse(const YamlNode& document, std::span<const std::string> overrides,
                      std::span<const ModelOptions> models);
  /// As parse, of values that a program has: {section: {key: value}}.
  static Config of(const Json& given, std::span<const ModelOptions> models);
  /// From a checkpoint's or run directory's resolved values. Keys that an earlier version did not know have
  /// their defaults: it did as those say.
  explicit Config(Json values, std::span<const ModelOptions> models = {});

  const Json& values() const { return values_; }  ///< {section: {key: value}}
  const Json& section(const std::string& name) const { return values_.at(name); }
  const Json& at(const std::string& section, const std::string& key) const;
  std::uint64_t unsigned_at(const std::string& section, const std::string& key) const;
  double number_at(const std::string& section, const std::string& key) const;
  std::string text_at(const std::string& section, const std::string& key) const;
  /// A copy with one value replaced: for what is resolved at the first start (lanes, window, threads,
  /// horizon).
  Config with(const std::string& section, const std::string& key, Json value) const;

 private:
  Json values_;
};

/// One key whose value differs between the run on disk and this start.
struct ConfigChange {
  std::string path;
  Json before;
  Json after;
  KeyClass key_class;
};

/// All differences; a value left to the program (null) now equals whatever was resolved before.
std::vector<ConfigChange> config_changes(const Config& before, const Config& after);

}  // namespace muster
