#pragma once
// A line of JSON as an object, and its members as values of fields.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/json.h"
#include "data_loader/contract/contract.h"

namespace muster {

/// The object that a line is. Error{kData}: no JSON, no object, a key given twice.
Result<Json> parse_json_line(std::string_view line);

/// Writes field.bytes_per_row() bytes. null is a missing value, where the contract lets it. Numbers must be
/// JSON numbers that the dtype holds without loss (times also ISO texts, fields with `allowed: [0, 1]` also
/// true and false), texts JSON strings, arrays nested as the field's shape. Ranges are not checked. Returns
/// what is wrong, naming the field, or "".
std::string put_json_value(const Field& field, const Json& value, std::span<std::byte> out);

}  // namespace muster
