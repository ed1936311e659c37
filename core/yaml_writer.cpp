#include <yaml-cpp/emitter.h>

#include <algorithm>
#include <cctype>

#include "core/json.h"
#include "core/text.h"
#include "core/yaml.h"

namespace muster {
namespace {

/// Whether this text without quotes would come back as the same text, as a key or a value, in any style.
/// Strict: letters, digits and what names and paths are made of.
bool stands_plain(const std::string& text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c < 128 && (std::isalnum(c) != 0 || c == '_' || c == '.' || c == '/' || c == '-');
  });
  if (!plain || text.empty() || text.front() == '-') return false;
  const auto read = attempt([&] { return YamlNode::parse(text, "").to_json(); });
  return read && read.value() == Json(text);
}

void emit_text(YAML::Emitter& out, const std::string& text) {
  if (!stands_plain(text)) out << YAML::DoubleQuoted;
  out << text;
}

void emit(YAML::Emitter& out, const Json& value) {
  switch (value.type()) {
    case Json::value_t::object:
      out << YAML::BeginMap;
      for (const auto& [key, child] : value.items()) {
        out << YAML::Key;
        emit_text(out, key);
        out << YAML::Value;
        emit(out, child);
      }
      out << YAML::EndMap;
      break;
    case Json::value_t::array:
      out << YAML::Flow << YAML::BeginSeq;
      for (const auto& child : value) emit(out, child);
      out << YAML::EndSeq;
      break;
    case Json::value_t::string:
      emit_text(out, value.get<std::string>());
      break;
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
