#pragma once
// Strict YAML: every value knows its file:line:column, every unread key is an error that names the nearest
// known one.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace muster {

/// A node of a YAML document. Immutable but for the notes on which keys were read. Copyable (deep). All
/// failures are Error{kConfig} with `where` = "file:line:column".
class YamlNode {
 public:
  enum class Kind { kNull, kScalar, kList, kMap };

  /// Parses a whole document; an empty one is null. Refused: what is not UTF-8, a second document, anchors,
  /// aliases, tags, duplicate keys, keys that are no text, nesting deeper than 64.
  static YamlNode parse(std::string_view text, std::string file_name);
  static YamlNode load(const std::filesystem::path& path);

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::kNull; }
  bool is_scalar() const { return kind_ == Kind::kScalar; }
  bool is_list() const { return kind_ == Kind::kList; }
  bool is_map() const { return kind_ == Kind::kMap; }
  std::string where() const;
  /// Throws Error{kConfig} at this node.
  [[noreturn]] void fail_here(const std::string& message) const;

  // Scalars; each fails with the type it wanted and the text it found.
  std::string as_string() const;
  std::int64_t as_integer() const;
  std::uint64_t as_unsigned() const;
  double as_number() const;
  bool as_boolean() const;
  /// A number of bytes: "512 MiB" or a plain integer.
  std::uint64_t as_bytes() const;
  /// Seconds since 1970: an integer or an ISO date or time (UTC).
  std::int64_t as_time() const;
  bool is_quoted() const { return quoted_; }

  /// Items of a list.
  const std::vector<YamlNode>& items() const;
  /// Entries of a map in file order.
  const std::vector<std::pair<std::string, YamlNode>>& entries() const;

  /// The value under a key of this map, marked as read; nullptr if absent.
  const YamlNode* find(std::string_view key) const;
  /// As find, but absent is an error.
  const YamlNode& require(std::string_view key) const;
  /// Fails if this map has a key that was never asked for by find or require.
  void refuse_unread() const;

  /// The plain value: null, boolean, integer, number or string by YAML 1.2's core schema; lists and objects.
  nlohmann::json to_json() const;

 private:
  friend class YamlBuilder;
  Kind kind_ = Kind::kNull;
  bool quoted_ = false;
  std::string scalar_;
  std::vector<YamlNode> items_;
  std::vector<std::pair<std::string, YamlNode>> entries_;
  std::shared_ptr<const std::string> file_;
  int line_ = 0;
  int column_ = 0;
  mutable std::set<std::string, std::less<>> asked_;
};

/// JSON as block-style YAML text that `YamlNode::parse` reads back to the same JSON.
std::string to_yaml(const nlohmann::json& value);

}  // namespace muster
