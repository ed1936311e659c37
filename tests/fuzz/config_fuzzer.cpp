// Any bytes: a configuration, or an Error{kConfig} that says where. A resolved one reads back as the same.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/yaml.h"
#include "trainer/config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::array<muster::ModelOptions, 1> models = {
      {{"mlp", {{"hidden", muster::OptionType::kIntegerList, {64}, "widths", {}}}}}};
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::optional<muster::Config> config;
  try {
    config = muster::Config::parse(muster::YamlNode::parse(text, "config.yaml"), {}, models);
  } catch (const muster::Error& error) {
    if (error.code() != muster::ErrorCode::kConfig || error.where().empty()) std::abort();
    return 0;
  }
  const auto again = muster::Config::parse(
      muster::YamlNode::parse(muster::to_yaml(config->values()), "again.yaml"), {}, models);
  if (again.values() != config->values()) std::abort();
  return 0;
}
