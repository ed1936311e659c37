#pragma once
// CUDA graphs: a step's kernels without the host's work for each.

#include <functional>
#include <memory>

#include "trainer/comm/gpu.h"

namespace muster {

/// As Gpus::record.
std::unique_ptr<GpuGraph> record_graph(const std::function<void()>& work);

}  // namespace muster
