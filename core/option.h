#pragma once
// One table entry serves the parser, the default and the help text of a setting.

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/yaml.h"

namespace muster {

enum class OptionType {
  kBoolean,
  kInteger,
  kUnsigned,
  kNumber,
  kText,
  kBytes,
  kIntegerList,
  kNumberList,
  kTextList
};

/// A setting: name, type, default (null: none; it must be given, or the program works it out), meaning.
struct Option {
  std::string name;
  OptionType type = OptionType::kText;
  nlohmann::json fallback;
  std::string help;
  std::vector<std::string> choices;  ///< of a text; empty: any
};

const char* to_string(OptionType type);

/// The node's value, checked against the option's type and choices: Error{kConfig} at the node. Null (`key:
/// ~`) leaves open what has no default, and is refused elsewhere. Numbers are finite.
nlohmann::json read_option(const Option& option, const YamlNode& node);

/// A map with these options: strict, defaults filled in. `node` may be nullptr (all defaults).
nlohmann::json read_options(std::span<const Option> options, const YamlNode* node);

}  // namespace muster
