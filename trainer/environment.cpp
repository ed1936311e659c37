#include "trainer/environment.h"

#include <fstream>

#include "core/text.h"

namespace muster {
namespace {

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    const std::size_t colon = line.find(':');
    if (line.starts_with("model name") && colon != std::string::npos)
      return std::string(trim(line.substr(colon + 1)));
  }
  return "unknown";
}

}  // namespace

Json describe_environment(int ranks, const Config& config, const std::string& mpi_version) {
  return {{"ranks", ranks},        {"threads", config.at("train", "threads")},
          {"device", "cpu"},       {"torch", MUSTER_TORCH_VERSION},
          {"mpi", mpi_version},    {"cpu", cpu_model()},
          {"code", MUSTER_VERSION}};
}

Json environment_changes(const Json& before, const Json& after) {
  Json changes = Json::array();
  for (const auto& [key, value] : after.items()) {
    const Json earlier = before.is_object() && before.contains(key) ? before.at(key) : Json(nullptr);
    if (earlier != value) changes.push_back(fmt::format("{} {} -> {}", key, earlier.dump(), value.dump()));
  }
  return changes;
}

}  // namespace muster
