#include "data_loader/ingest/json_row.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "core/text.h"
#include "data_loader/ingest/csv_cell.h"

namespace muster {
namespace {

std::string shown(const Json& value) {
  switch (value.type()) {
    case Json::value_t::array:
      return "an array";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::string:
      return "the text " + readable_text(value.get_ref<const std::string&>());
    default:
      return value.dump();
  }
}

/// A number that T holds without loss; floats only have to be in its range.
template <typename T>
std::optional<T> as_number(const Json& value) {
  if constexpr (std::is_floating_point_v<T>) {
    const auto number = value.get<double>();
    if (std::abs(number) <= static_cast<double>(std::numeric_limits<T>::max())) return static_cast<T>(number);
  } else if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (std::in_range<T>(number)) return static_cast<T>(number);
  } else if (value.is_number_integer()) {
    const auto number = value.get<std::int64_t>();
    if (std::in_range<T>(number)) return static_cast<T>(number);
  } else {
    constexpr double kExact = 9007199254740992;  // 2^53: beyond it a double is no longer one integer
    const auto number = value.get<double>();     // 3.0, as programs write integers
    if (number == std::floor(number) && std::abs(number) <= kExact) {
      const auto whole = static_cast<std::int64_t>(number);
      if (std::in_range<T>(whole)) return static_cast<T>(whole);
    }
  }
  return std::nullopt;
}

template <typename T>
std::optional<T> as_value(const Field& field, const Json& value) {
  if (value.is_number()) return as_number<T>(value);
  if (value.is_boolean() && field.allowed == std::vector<double>{0, 1})
    return static_cast<T>(value.get<bool>() ? 1 : 0);
  if (value.is_string() && field.takes_times()) {
    const auto time = parse_iso_time(value.get_ref<const std::string&>());
    if (time && as_number<T>(Json(*time))) return static_cast<T>(*time);
  }
  return std::nullopt;
}

/// Fills `out` from nested arrays of the extents; returns what is wrong, or "".
std::string put_array(const Field& field, std::size_t depth, const Json& value, std::span<std::byte> out) {
  if (depth == field.shape.size()) {
    return visit(field.dtype, [&]<typename T>(T*) -> std::string {
      const auto number = as_value<T>(field, value);
      if (!number)
        return fmt::format("{} is no {} for '{}'", shown(value), to_string(field.dtype), field.name);
      std::memcpy(out.data(), &*number, sizeof(T));
      return "";
    });
  }
  const std::uint64_t extent = field.shape[depth];
  if (!value.is_array() || value.size() != extent)
    return fmt::format("'{}' takes arrays of {}, nested as its shape [{}]", field.name, extent,
                       fmt::join(field.shape, ", "));
  const std::size_t bytes = out.size() / extent;
  for (std::size_t i = 0; i < extent; ++i) {
    if (std::string wrong = put_array(field, depth + 1, value[i], out.subspan(i * bytes, bytes));
        !wrong.empty())
      return wrong;
  }
  return "";
}

}  // namespace

Result<Json> parse_json_line(std::string_view line) {
  std::set<std::string> keys;
  std::string twice;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth == 1 && event == Json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys.insert(key).second) twice = key;
    }
    return true;
  };
  try {
    Json object = Json::parse(line, watch);
    if (!object.is_object()) return Error(ErrorCode::kData, "is JSON, but no object: {\"field\": value, …}");
    if (!twice.empty())
      return Error(ErrorCode::kData, fmt::format("{} is there twice", readable_text(twice)));
    return object;
  } catch (const Json::parse_error& error) {
    return Error(ErrorCode::kData, fmt::format("is not JSON (at byte {})", error.byte));
  } catch (const Json::exception&) {
    return Error(ErrorCode::kData, "is not JSON that can be held: a number is too large");
  }
}

std::string put_json_value(const Field& field, const Json& value, std::span<std::byte> out) {
  const bool missing = value.is_null() ||
                       (value.is_string() && field.is_text() && value.get_ref<const std::string&>().empty());
  if (missing && field.shape.empty()) return parse_cell(field, {}, "", out);
  if (missing) return fmt::format("'{}' is missing, which the contract forbids", field.name);
  if (!field.is_text()) return put_array(field, 0, value, out);
  if (!value.is_string()) return fmt::format("{} is no text for '{}'", shown(value), field.name);
  return put_text(field, value.get_ref<const std::string&>(), out);
}

}  // namespace muster
