#pragma once
// Where each rank computes: on the CPU, or on which GPU.

#include <functional>
#include <string>
#include <vector>

#include "models/compute_device.h"
#include "trainer/comm/communicator.h"
#include "trainer/comm/gpu_module.h"

namespace muster {

/// What one rank sees.
struct RankGpus {
  std::string host;
  std::vector<std::string> uuids;  ///< of its GPUs, in CUDA's order
  std::string why_not;             ///< where there are none
  bool has_driver = false;         ///< where there are none: they were to be expected
};

/// One GPU a rank: of n ranks on a host the k-th takes the k-th GPU, or the only one that it is shown. The
/// index of each rank's. Error{kConfig} where a rank has none, or two have the same, which `share` allows.
std::vector<int> assign_gpus(const std::vector<RankGpus>& ranks, bool share);

/// Collective. `wanted`: "cpu", "cuda", or "auto", which is a GPU where every rank has one. Failures are
/// AgreedErrors. `module` may be null. `warn`: on rank 0, why it is no GPU under "auto", unless no
/// rank's machine looks as if it had one.
ComputeDevice choose_device(Communicator& comm, const std::string& wanted, const GpuModule* module,
                            bool share, const std::function<void(const std::string&)>& warn);

/// Where a trained model shall score.
struct ScoringDevice {
  std::string wanted;               ///< as train.device; "": as the run's own
  const GpuModule* gpus = nullptr;  ///< may be null; outlives what scores
};

/// Collective. As choose_device, and selected; ranks may share a GPU. `of_run`: its train.device.
ComputeDevice choose_scoring_device(Communicator& comm, const ScoringDevice& device,
                                    const std::string& of_run,
                                    const std::function<void(const std::string&)>& warn);

}  // namespace muster
