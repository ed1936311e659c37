#include <yaml-cpp/emitter.h>

#include <algorithm>
#include <cctype>

#include "core/json.h"
#include "core/text.h"
#include "core/yaml.h"

namespace muster {
namespace {

/// Whether this text without quotes would come back as the same text.
bool stands_plain(const std::string& text) {
  const bool plain =
      std::none_of(text.begin(), text.end(), [](unsigned char c) { return std::iscntrl(c) != 0; });
  if (!plain || trim(text) != text) return false;
  const auto read = attempt([&] { return YamlNode::parse(text, "").to_json(); });
  return read && read.value() == Json(text);
}

void emit(YAML::Emitter& out, const Json& value) {
  switch (value.type()) {
    case Json::value_t::object:
      out << YAML::BeginMap;
      for (const auto& [key, child] : value.items()) {
        out << YAML::Key << key << YAML::Value;
        emit(out, child);
      }
      out << YAML::EndMap;
      break;
    case Json::value_t::array:
      out << YAML::Flow << YAML::BeginSeq;
      for (const auto& child : value) emit(out, child);
      out << YAML::EndSeq;
      break;
    case Json::value_t::string: {
      const auto text = value.get<std::string>();
      if (!stands_plain(text)) out << YAML::DoubleQuoted;
      out << text;
      break;
    }
    case Json::value_t::null:
      out << YAML::Null;
      break;
    default:
      out << value.dump();
  }
}

}  // namespace

std::string to_yaml(const nlohmann::json& value) {
  YAML::Emitter out;
  emit(out, value);
  ensure(out.good(), "YAML cannot be written: {}", out.GetLastError());
  return std::string(out.c_str()) + "\n";
}

}  // namespace muster
