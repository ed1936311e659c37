#include "core/option.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/text.h"

namespace muster {

const char* to_string(OptionType type) {
  switch (type) {
    case OptionType::kBoolean:
      return "true or false";
    case OptionType::kInteger:
      return "integer";
    case OptionType::kUnsigned:
      return "integer >= 0";
    case OptionType::kNumber:
      return "number";
    case OptionType::kText:
      return "text";
    case OptionType::kBytes:
      return "size";
    case OptionType::kIntegerList:
      return "list of integers";
    case OptionType::kNumberList:
      return "list of numbers";
    case OptionType::kTextList:
      return "list of texts";
  }
  return "";
}

namespace {

template <typename Read>
nlohmann::json read_list(const YamlNode& node, Read read) {
  nlohmann::json list = nlohmann::json::array();
  for (const YamlNode& item : node.items()) list.push_back(read(item));
  return list;
}

nlohmann::json read_text(const Option& option, const YamlNode& node) {
  std::string text = node.as_string();
  const bool known = option.choices.empty() ||
                     std::find(option.choices.begin(), option.choices.end(), text) != option.choices.end();
  if (!known) {
    node.fail_here(fmt::format("'{}' is no {}{}; known: {}", text, option.name,
                               did_you_mean(text, option.choices), join(option.choices, ", ")));
  }
  return text;
}

double read_number(const YamlNode& node) {
  const double value = node.as_number();
  if (!std::isfinite(value)) node.fail_here("a finite number was expected");
  return value;
}

}  // namespace

nlohmann::json read_option(const Option& option, const YamlNode& node) {
  if (node.is_null() && option.fallback.is_null()) return nullptr;
  switch (option.type) {
    case OptionType::kBoolean:
      return node.as_boolean();
    case OptionType::kInteger:
      return node.as_integer();
    case OptionType::kUnsigned:
      return node.as_unsigned();
    case OptionType::kNumber:
      return read_number(node);
    case OptionType::kText:
      return read_text(option, node);
    case OptionType::kBytes:
      return node.as_bytes();
    case OptionType::kIntegerList:
      return read_list(node, [](const YamlNode& item) { return item.as_integer(); });
    case OptionType::kNumberList:
      return read_list(node, read_number);
    case OptionType::kTextList:
      return read_list(node, [&](const YamlNode& item) { return read_text(option, item); });
  }
  return nullptr;
}

nlohmann::json read_options(std::span<const Option> options, const YamlNode* node) {
  nlohmann::json values = nlohmann::json::object();
  for (const Option& option : options) {
    const YamlNode* given = node == nullptr ? nullptr : node->find(option.name);
    values[option.name] = given == nullptr ? option.fallback : read_option(option, *given);
  }
  if (node != nullptr) node->refuse_unread();
  return values;
}

}  // namespace muster
