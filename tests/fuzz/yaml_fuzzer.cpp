// Any bytes: parsed, or refused by an Error that says where. What was parsed survives writing and reading
// again.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/yaml.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::optional<nlohmann::json> json;
  try {
    json = muster::YamlNode::parse(text, "input.yaml").to_json();
  } catch (const muster::Error& error) {
    if (error.code() != muster::ErrorCode::kConfig || error.where().empty()) std::abort();
    return 0;
  }
  if (muster::YamlNode::parse(muster::to_yaml(*json), "again.yaml").to_json() != *json) std::abort();
  return 0;
}
