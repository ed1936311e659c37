#include "core/yaml.h"

#include <yaml-cpp/anchor.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <sstream>

#include "core/file_system.h"
#include "core/json.h"
#include "core/text.h"

namespace muster {
namespace {

/// Whether UTF-8 text holds one of Unicode's 66 noncharacters (U+FDD0 to U+FDEF, and the last two of each
/// plane), which yaml-cpp would write as another character.
bool has_noncharacter(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (std::size_t i = 0; i + 2 < text.size(); ++i) {
    if (byte(i) == 0xEF && byte(i + 1) == 0xB7 && byte(i + 2) >= 0x90 && byte(i + 2) <= 0xAF) return true;
    const bool ends_plane = byte(i + 1) == 0xBF && (byte(i + 2) == 0xBE || byte(i + 2) == 0xBF);
    if (ends_plane && byte(i) == 0xEF) return true;
    const bool four_bytes = i > 0 && byte(i - 1) >= 0xF0 && (byte(i) & 0x0F) == 0x0F;
    if (ends_plane && four_bytes) return true;
  }
  return false;
}

}  // namespace

/// Makes our nodes from the parser's events, and refuses what is not used here at its first sign: before the
/// parser goes deeper, and before an alias could multiply anything.
class YamlBuilder : public YAML::EventHandler {
 public:
  explicit YamlBuilder(std::string file_name)
      : file_(std::make_shared<const std::string>(std::move(file_name))) {
    root_.file_ = file_;
  }

  YamlNode take_root() { return std::move(root_); }

  [[noreturn]] void refuse(const YAML::Mark& mark, const std::string& message) const {
    at(mark).fail_here(message);
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) refuse(mark, "a second YAML document begins here: one is expected");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check(mark, "", anchor);
    if (wants_key()) refuse(mark, "a key must be plain text");
    place(at(mark));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(mark, "YAML aliases are not used here");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check(mark, tag, anchor);
    // yaml-cpp turns some escapes ("\\N") into single bytes.
    if (utf8_prefix(value) != value.size()) refuse(mark, "has an escape that is not UTF-8 text");
    if (has_noncharacter(value)) refuse(mark, "has a code point that is no character (such as U+FFFF)");
    if (wants_key()) return take_key(mark, value);
    YamlNode node = at(mark);
    node.kind_ = YamlNode::Kind::kScalar;
    node.scalar_ = value;
    node.quoted_ = tag == "!";
    place(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    check(mark, tag, anchor);
    open(mark, YamlNode::Kind::kList);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    check(mark, tag, anchor);
    open(mark, YamlNode::Kind::kMap);
  }
  void OnMapEnd() override { close(); }

 private:
  static constexpr std::size_t kMostLevels = 64;

  /// A list or map that is being filled.
  struct Level {
    YamlNode node;
    std::optional<std::pair<std::string, YAML::Mark>> key;  ///< of the value that comes next
    std::set<std::string> keys;
  };

  YamlNode at(const YAML::Mark& mark) const {
    YamlNode node;
    node.file_ = file_;
    node.line_ = mark.line + 1;
    node.column_ = mark.column + 1;
    return node;
  }

  void check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) const {
    if (anchor != YAML::NullAnchor) refuse(mark, "YAML anchors are not used here");
    if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, "YAML tags are not used here");
  }

  bool wants_key() const { return !levels_.empty() && levels_.back().node.is_map() && !levels_.back().key; }

  void take_key(const YAML::Mark& mark, const std::string& key) {
    if (!levels_.back().keys.insert(key).second) refuse(mark, fmt::format("'{}' is given twice", key));
    levels_.back().key = {key, mark};
  }

  void open(const YAML::Mark& mark, YamlNode::Kind kind) {
    if (wants_key()) refuse(mark, "a key must be plain text");
    if (levels_.size() == kMostLevels)
      refuse(mark, fmt::format("is nested deeper than {} levels", kMostLevels));
    levels_.push_back({at(mark), std::nullopt, {}});
    levels_.back().node.kind_ = kind;
  }

  void close() {
    YamlNode node = std::move(levels_.back().node);
    levels_.pop_back();
    place(std::move(node));
  }

  void place(YamlNode node) {
    if (levels_.empty()) {
      root_ = std::move(node);
    } else if (Level& level = levels_.back(); level.node.is_list()) {
      level.node.items_.push_back(std::move(node));
    } else {
      // An unknown key is reported where the key stands, not its value.
      node.line_ = level.key->second.line + 1;
      node.column_ = level.key->second.column + 1;
      level.node.entries_.emplace_back(std::move(level.key->first), std::move(node));
      level.key.reset();
    }
  }

  std::shared_ptr<const std::string> file_;
  YamlNode root_;
  std::vector<Level> levels_;
  int documents_ = 0;
};

namespace {

/// The first byte that is not UTF-8 text, or nothing. A NUL would make yaml-cpp take the text for UTF-16 or
/// UTF-32.
std::optional<YAML::Mark> first_bad_byte(std::string_view text) {
  const std::size_t bad = std::min(utf8_prefix(text), text.find('\0'));
  if (bad == text.size()) return std::nullopt;
  const std::string_view before = text.substr(0, bad);
  YAML::Mark mark;
  mark.line = static_cast<int>(std::count(before.begin(), before.end(), '\n'));
  mark.column = static_cast<int>(bad - (before.rfind('\n') + 1));
  return mark;
}

}  // namespace

YamlNode YamlNode::parse(std::string_view text, std::string file_name) {
  YamlBuilder builder(std::move(file_name));
  if (const auto bad = first_bad_byte(text)) builder.refuse(*bad, "is not UTF-8 text");
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    builder.refuse(error.mark, fmt::format("is not YAML: {}", error.msg));
  }
  return builder.take_root();
}

YamlNode YamlNode::load(const std::filesystem::path& path) {
  const auto text = attempt([&] { return make_posix_file_system()->read_text(path); });
  if (!text) throw Error(ErrorCode::kConfig, text.error().message(), text.error().where());
  return parse(text.value(), path.string());
}

std::string YamlNode::where() const {
  return line_ > 0 ? fmt::format("{}:{}:{}", *file_, line_, column_) : *file_;
}

void YamlNode::fail_here(const std::string& message) const {
  throw Error(ErrorCode::kConfig, message, where());
}

namespace {

const char* kind_name(const YamlNode& node) {
  switch (node.kind()) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kScalar:
      return "one value";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
  }
  return "";
}

/// A node as an error shows it: on one line, of bounded length.
std::string shown(const YamlNode& node) {
  if (!node.is_scalar()) return kind_name(node);
  constexpr std::size_t kMost = 60;
  std::string text = node.as_string();
  if (text.size() > kMost) text = text.substr(0, kMost) + "…";
  for (char& c : text) {
    if (std::iscntrl(static_cast<unsigned char>(c)) != 0) c = ' ';
  }
  return "'" + text + "'";
}

template <typename T>
bool parse_whole(std::string_view text, T& value) {
  if (text.starts_with("+-")) return false;
  if (text.size() > 1 && text[0] == '+') text.remove_prefix(1);
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  return status == std::errc{} && end == text.data() + text.size() && !text.empty();
}

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  if (text == ".inf" || text == "+.inf") return HUGE_VAL;
  if (text == "-.inf") return -HUGE_VAL;
  if (text == ".nan" || text.empty() || std::isalpha(static_cast<unsigned char>(text.back())) != 0)
    return std::nullopt;
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
  if (!is_scalar()) fail_here(fmt::format("text was expected, found {}", shown(*this)));
  return scalar_;
}

std::int64_t YamlNode::as_integer() const {
  std::int64_t value = 0;
  if (!is_scalar() || quoted_ || !parse_whole(scalar_, value)) {
    fail_here(fmt::format("an integer was expected, found {}", shown(*this)));
  }
  return value;
}

std::uint64_t YamlNode::as_unsigned() const {
  std::uint64_t value = 0;
  if (!is_scalar() || quoted_ || !parse_whole(scalar_, value)) {
    fail_here(fmt::format("an integer of at least 0 was expected, found {}", shown(*this)));
  }
  return value;
}

double YamlNode::as_number() const {
  const auto value = is_scalar() && !quoted_ ? parse_number(scalar_) : std::nullopt;
  if (!value) fail_here(fmt::format("a number was expected, found {}", shown(*this)));
  return *value;
}

bool YamlNode::as_boolean() const {
  const auto value = is_scalar() && !quoted_ ? parse_boolean(scalar_) : std::nullopt;
  if (!value) {
    fail_here(fmt::format("true or false was expected, found {}", shown(*this)));
  }
  return *value;
}

std::uint64_t YamlNode::as_bytes() const {
  const auto value = is_scalar() ? parse_bytes(scalar_) : std::nullopt;
  if (!value) {
    fail_here(fmt::format("a size like '512 MiB' was expected, found {}", shown(*this)));
  }
  return *value;
}

std::int64_t YamlNode::as_time() const {
  std::int64_t value = 0;
  if (is_scalar() && !quoted_ && parse_whole(scalar_, value)) return value;
  const auto time = is_scalar() ? parse_iso_time(scalar_) : std::nullopt;
  if (!time) {
    fail_here(
        fmt::format("a time like 2026-01-31 or 2026-01-31T12:00:00 was expected, found {}", shown(*this)));
  }
  return *time;
}

const std::vector<YamlNode>& YamlNode::items() const {
  if (!is_list()) fail_here(fmt::format("a list was expected, found {}", shown(*this)));
  return items_;
}

const std::vector<std::pair<std::string, YamlNode>>& YamlNode::entries() const {
  if (!is_map()) fail_here(fmt::format("a map was expected, found {}", shown(*this)));
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
    case Kind::kNull:
      return nullptr;
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
    case Kind::kScalar:
      break;
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

}  // namespace muster
