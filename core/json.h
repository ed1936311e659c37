#pragma once
// JSON with errors that name the file. Objects keep their keys sorted, so dump() is the canonical form.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/error.h"

namespace muster {

using Json = nlohmann::json;

/// Parses text; Error{code} with `where` = name and the byte offset in the message.
Json parse_json(std::string_view text, const std::string& name, ErrorCode code = ErrorCode::kStorage);

/// The canonical form: UTF-8, sorted keys, no white space, shortest round-trip numbers. NaN and infinities
/// are refused (Error{kBug}): write them as strings.
std::string canonical(const Json& value);

/// A member of an object, with its type checked: Error{code} naming `where` and the key.
template <typename T>
T member(const Json& object, const char* key, const std::string& where,
         ErrorCode code = ErrorCode::kStorage) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end())
    throw Error(code, std::string("has no '") + key + "'", where);
  try {
    return found->template get<T>();
  } catch (const Json::exception&) {
    throw Error(code, std::string("'") + key + "' has the wrong type", where);
  }
}

/// A number for JSON lines: NaN and infinities become the strings "NaN", "Infinity", "-Infinity".
Json json_number(double value);

}  // namespace muster
