#include "trainer/comm/device_choice.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "core/host_name.h"
#include "core/json.h"
#include "trainer/comm/agreement.h"
#include "trainer/comm/gather.h"

namespace muster {
namespace {

RankGpus mine(const GpuModule* module) {
  RankGpus seen;
  seen.host = host_name();
  if (module == nullptr || module->gpus == nullptr) {
    seen.why_not = module == nullptr ? "this program was started without the CUDA module" : module->why_not;
    seen.has_driver = module != nullptr && module->has_driver;
    return seen;
  }
  for (int index = 0; index < module->gpus->count(); ++index)
    seen.uuids.push_back(module->gpus->info(index).uuid);
  return seen;
}

std::vector<RankGpus> of_all(Communicator& comm, const RankGpus& seen) {
  const Json text = {
      {"host", seen.host}, {"uuids", seen.uuids}, {"why_not", seen.why_not}, {"has_driver", seen.has_driver}};
  std::vector<RankGpus> all;
  for (const std::string& theirs : gather_texts(comm, "GPUs", text.dump())) {
    const Json json = parse_json(theirs, "GPUs", ErrorCode::kBug);
    all.push_back({json.at("host"), json.at("uuids"), json.at("why_not"), json.at("has_driver")});
  }
  return all;
}

}  // namespace

std::vector<int> assign_gpus(const std::vector<RankGpus>& ranks, bool share) {
  std::map<std::string, int> on_host;                                // ranks so far
  std::map<std::pair<std::string, std::string>, std::size_t> taken;  // GPU of a host, by whom
  std::vector<int> indices;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const RankGpus& seen = ranks[rank];
    const int place = on_host[seen.host]++;
    const int count = static_cast<int>(seen.uuids.size());
    if (count == 0) fail(ErrorCode::kConfig, "rank {} on {} has no GPU: {}", rank, seen.host, seen.why_not);
    const int index = count == 1 || share ? place % count : place;
    if (index >= count) {
      fail(ErrorCode::kConfig,
           "{} has {} GPUs, rank {} is its rank number {}: start at most one rank for each GPU (mpirun "
           "--map-by "
           "ppr:{}:node, or srun --ntasks-per-node={})",
           seen.host, count, rank, place + 1, count, count);
    }
    const auto [other, is_new] =
        taken.emplace(std::pair(seen.host, seen.uuids[static_cast<std::size_t>(index)]), rank);
    if (!is_new && !share) {
      fail(ErrorCode::kConfig,
           "ranks {} and {} on {} were given the same GPU ({}): start one rank for each, or show each rank "
           "one of its "
           "own (CUDA_VISIBLE_DEVICES, srun --gpus-per-task=1), or set train.device: cpu",
           other->second, rank, seen.host, other->first.second);
    }
    indices.push_back(index);
  }
  return indices;
}

ComputeDevice choose_device(Communicator& comm, const std::string& wanted, const GpuModule* module,
                            bool share, const std::function<void(const std::string&)>& warn) {
  if (wanted == "cpu") return {};
  const std::vector<RankGpus> all = of_all(comm, mine(module));
  const auto has_none = [](const RankGpus& seen) { return seen.uuids.empty(); };
  if (wanted == "auto" && std::ranges::any_of(all, has_none)) {
    const auto none = std::ranges::find_if(all, has_none);
    if (comm.rank() == 0 &&
        std::ranges::any_of(all, [&](const RankGpus& seen) { return seen.has_driver || !has_none(seen); })) {
      warn(fmt::format("all ranks compute on the CPU, as rank {} on {} has no GPU: {}", none - all.begin(),
                       none->host, none->why_not));
    }
    return {};
  }
  const auto indices = together(comm, "GPUs", [&] { return assign_gpus(all, share); });
  return {true, indices[static_cast<std::size_t>(comm.rank())]};
}

ComputeDevice choose_scoring_device(Communicator& comm, const ScoringDevice& device,
                                    const std::string& of_run,
                                    const std::function<void(const std::string&)>& warn) {
  const ComputeDevice chosen =
      choose_device(comm, device.wanted.empty() ? of_run : device.wanted, device.gpus, /*share=*/true, warn);
  if (chosen.gpu) device.gpus->gpus->select(chosen.index);
  return chosen;
}

}  // namespace muster
