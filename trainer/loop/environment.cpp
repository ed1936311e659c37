#include "trainer/loop/environment.h"

#include <fstream>
#include <set>

#include "core/host_name.h"
#include "core/text.h"
#include "muster_code_version.h"
#include "trainer/comm/gather.h"

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

/// How many neighbouring ranks share a host: [2, 2, 1]. Names of hosts are left out, they decide no bits.
std::vector<int> runs_of_equal(const std::vector<std::string>& hosts) {
  std::vector<int> runs;
  for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
    if (rank == 0 || hosts[rank] != hosts[rank - 1]) runs.push_back(0);
    ++runs.back();
  }
  return runs;
}

}  // namespace

Json describe_environment(Communicator& comm, const Config& config, const std::string& mpi_version,
                          const std::string& device) {
  const std::vector<std::string> cpus = gather_texts(comm, "cpus", cpu_model());
  const std::set<std::string> distinct(cpus.begin(), cpus.end());
  const std::vector<std::string> kinds(distinct.begin(), distinct.end());
  return {{"ranks", comm.size()},
          {"ranks_per_host", runs_of_equal(gather_texts(comm, "hosts", host_name()))},
          {"threads", config.at("train", "threads")},
          {"device", device},
          {"sums", comm.sums(sum_precision(config.text_at("train", "sum_precision")))},
          {"torch", MUSTER_TORCH_VERSION},
          {"mpi", mpi_version},
          {"cpu", join(kinds, ", ")},
          {"code", kCodeVersion}};
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
