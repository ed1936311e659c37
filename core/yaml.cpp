#include "core/yaml.h"

#include <yaml-cpp/yaml.h>

#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

#include "core/json.h"
#include "core/text.h"

namespace muster {

/// Turns yaml-cpp's nodes into ours.
class YamlBuilder {
 public:
  explicit YamlBuilder(std::string file_name) : file_(std::make_shared<const std::string>(std::move(file_name))) {}

  YamlNode build(const YAML::Node& source, int depth = 0) const {
    YamlNode node;
    node.file_ = file_;
    node.line_ = source.Mark().line + 1;
    node.column_ = source.Mark().column + 1;
    if (depth > 64) node.fail_here("is nested deeper than 64 levels");
    switch (source.Type()) {
      case YAML::NodeType::Scalar:
        node.kind_ = YamlNode::Kind::kScalar;
        node.scalar_ = source.Scalar();
        node.quoted_ = source.Tag() == "!";
        if (!node.quoted_ && source.Tag() != "?" && !source.Tag().empty()) node.fail_here("YAML tags are not used here");
        break;
      case YAML::NodeType::Sequence:
        node.kind_ = YamlNode::Kind::kList;
        for (const auto& item : source) node.items_.push_back(build(item, depth + 1));
        break;
      case YAML::NodeType::Map: build_map(source, depth, node); break;
      default: node.kind_ = YamlNode::Kind::kNull;
    }
    return node;
  }

  YamlNode at(const YAML::Mark& mark) const {
    YamlNode node;
    node.file_ = file_;
    node.line_ = mark.line + 1;
    node.column_ = mark.column + 1;
    return node;
  }

 private:
  void build_map(const YAML::Node& source, int depth, YamlNode& node) const {
    node.kind_ = YamlNode::Kind::kMap;
    std::set<std::string> seen;
    for (const auto& entry : source) {
      if (!entry.first.IsScalar()) at(entry.first.Mark()).fail_here("a key must be plain text");
      const std::string key = entry.first.Scalar();
      if (!seen.insert(key).second) at(entry.first.Mark()).fail_here(fmt::format("'{}' is given twice", key));
      YamlNode value = build(entry.second, depth + 1);
      // An unknown key is reported where the key stands, not its value.
      value.line_ = entry.first.Mark().line + 1;
      value.column_ = entry.first.Mark().column + 1;
      node.entries_.emplace_back(key, std::move(value));
    }
  }

  std::shared_ptr<const std::string> file_;
};

YamlNode YamlNode::parse(std::string_view text, std::string file_name) {
  const YamlBuilder builder(std::move(file_name));
  // yaml-cpp parses recursively: refuse absurd nesting and aliases (which could be cyclic) before it starts.
  int nesting = 0;
  for (const char c : text) {
    nesting += c == '[' || c == '{' ? 1 : (c == ']' || c == '}' ? -1 : 0);
    if (nesting > 64) builder.at(YAML::Mark()).fail_here("is nested deeper than 64 levels");
  }
  try {
    return builder.build(YAML::Load(std::string(text)));
  } catch (const YAML::Exception& error) {
    builder.at(error.mark).fail_here(fmt::format("is not YAML: {}", error.msg));
  }
}

YamlNode YamlNode::load(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    throw Error(ErrorCode::kConfig, "is a directory, a YAML file was expected", path.string());
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) {
    throw Error(ErrorCode::kConfig, fmt::format("cannot be read ({})", std::strerror(errno)), path.string());
  }
  return parse(text.str(), path.string());
}

std::string YamlNode::where() const {
  return line_ > 0 ? fmt::format("{}:{}:{}", *file_, line_, column_) : *file_;
}

void YamlNode::fail_here(const std::string& message) const { throw Error(ErrorCode::kConfig, message, where()); }

namespace {

const char* kind_name(const YamlNode& node) {
  switch (node.kind()) {
    case YamlNode::Kind::kNull: return "nothing";
    case YamlNode::Kind::kScalar: return "one value";
    case YamlNode::Kind::kList: return "a list";
    case YamlNode::Kind::kMap: return "a map";
  }
  return "";
}

template <typename T>
bool parse_whole(std::string_view text, T& value) {
  if (text.size() > 1 && text[0] == '+') text.remove_prefix(1);
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  return status == std::errc{} && end == text.data() + text.size() && !text.empty();
}

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  if (text == ".inf" || text == "+.inf") return HUGE_VAL;
  if (text == "-.inf") return -HUGE_VAL;
  if (text == ".nan" || text.empty() || std::isalpha(static_cast<unsigned char>(text.back())) != 0) return std::nullopt;
  if (parse_whole(text, value)) return value;
  return std::nullopt;
}

std::optional<bool> parse_boolean(std::string_view text) {
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  return std::nullopt;
}

}  // namespace

std::string YamlNode::as_string() const {
  if (!is_scalar()) fail_here(fmt::format("text was expected, found {}", kind_name(*this)));
  return scalar_;
}

std::int64_t YamlNode::as_integer() const {
  std::int64_t value = 0;
  if (!is_scalar() || quoted_ || !parse_whole(scalar_, value)) {
    fail_here(fmt::format("an integer was expected, found {}", is_scalar() ? "'" + scalar_ + "'" : kind_name(*this)));
  }
  return value;
}

std::uint64_t YamlNode::as_unsigned() const {
  std::uint64_t value = 0;
  if (!is_scalar() || quoted_ || !parse_whole(scalar_, value)) {
    fail_here(fmt::format("an integer of at least 0 was expected, found {}",
                          is_scalar() ? "'" + scalar_ + "'" : kind_name(*this)));
  }
  return value;
}

double YamlNode::as_number() const {
  const auto value = is_scalar() && !quoted_ ? parse_number(scalar_) : std::nullopt;
  if (!value) fail_here(fmt::format("a number was expected, found {}", is_scalar() ? "'" + scalar_ + "'" : kind_name(*this)));
  return *value;
}

bool YamlNode::as_boolean() const {
  const auto value = is_scalar() && !quoted_ ? parse_boolean(scalar_) : std::nullopt;
  if (!value) {
    fail_here(fmt::format("true or false was expected, found {}", is_scalar() ? "'" + scalar_ + "'" : kind_name(*this)));
  }
  return *value;
}

std::uint64_t YamlNode::as_bytes() const {
  const auto value = is_scalar() ? parse_bytes(scalar_) : std::nullopt;
  if (!value) {
    fail_here(fmt::format("a size like '512 MiB' was expected, found {}",
                          is_scalar() ? "'" + scalar_ + "'" : kind_name(*this)));
  }
  return *value;
}

std::int64_t YamlNode::as_time() const {
  std::int64_t value = 0;
  if (is_scalar() && !quoted_ && parse_whole(scalar_, value)) return value;
  const auto time = is_scalar() ? parse_iso_time(scalar_) : std::nullopt;
  if (!time) {
    fail_here(fmt::format("a time like 2026-01-31 or 2026-01-31T12:00:00 was expected, found {}",
                          is_scalar() ? "'" + scalar_ + "'" : kind_name(*this)));
  }
  return *time;
}

const std::vector<YamlNode>& YamlNode::items() const {
  if (!is_list()) fail_here(fmt::format("a list was expected, found {}", kind_name(*this)));
  return items_;
}

const std::vector<std::pair<std::string, YamlNode>>& YamlNode::entries() const {
  if (!is_map()) fail_here(fmt::format("a map was expected, found {}", kind_name(*this)));
  return entries_;
}

const YamlNode* YamlNode::find(std::string_view key) const {
  asked_.emplace(key);
  for (const auto& [name, value] : entries()) {
    if (name == key) return &value;
  }
  return nullptr;
}

const YamlNode& YamlNode::require(std::string_view key) const {
  const YamlNode* value = find(key);
  if (value == nullptr) fail_here(fmt::format("'{}' is missing", key));
  return *value;
}

void YamlNode::refuse_unread() const {
  const std::vector<std::string> known(asked_.begin(), asked_.end());
  for (const auto& [name, value] : entries()) {
    if (asked_.contains(name)) continue;
    value.fail_here(fmt::format("unknown key '{}'{}", name, did_you_mean(name, known)));
  }
}

nlohmann::json YamlNode::to_json() const {
  switch (kind_) {
    case Kind::kNull: return nullptr;
    case Kind::kList: {
      Json list = Json::array();
      for (const YamlNode& item : items_) list.push_back(item.to_json());
      return list;
    }
    case Kind::kMap: {
      Json object = Json::object();
      for (const auto& [name, value] : entries_) object[name] = value.to_json();
      return object;
    }
    case Kind::kScalar: break;
  }
  if (quoted_) return scalar_;
  if (scalar_ == "~" || scalar_ == "null") return nullptr;
  if (const auto value = parse_boolean(scalar_)) return *value;
  std::int64_t integer = 0;
  if (parse_whole(scalar_, integer)) return integer;
  std::uint64_t natural = 0;
  if (parse_whole(scalar_, natural)) return natural;
  if (const auto value = parse_number(scalar_); value && std::isfinite(*value)) return *value;
  return scalar_;
}

namespace {

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
      // Quote whatever would not come back as the same text.
      bool same = false;
      try {
        same = !text.empty() && YamlNode::parse(text, "").to_json() == value;
      } catch (const Error&) {
        same = false;
      }
      if (same) {
        out << text;
      } else {
        out << YAML::DoubleQuoted << text;
      }
      break;
    }
    case Json::value_t::null: out << YAML::Null; break;
    default: out << value.dump();
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
