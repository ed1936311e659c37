#include "core/json.h"

#include <cmath>

namespace muster {

Json parse_json(std::string_view text, const std::string& name, ErrorCode code) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    throw Error(code, fmt::format("is not JSON (at byte {})", error.byte), name);
  } catch (const Json::exception& error) {
    throw Error(code, fmt::format("is not JSON that can be held: {}", error.what()), name);
  }
}

namespace {

void refuse_non_finite(const Json& value) {
  if (value.is_number_float()) ensure(std::isfinite(value.get<double>()), "a number in JSON is not finite");
  if (value.is_structured()) {
    for (const auto& child : value) refuse_non_finite(child);
  }
}

}  // namespace

std::string canonical(const Json& value) {
  refuse_non_finite(value);
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json json_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

}  // namespace muster
