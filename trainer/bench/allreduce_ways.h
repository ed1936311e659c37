#pragma once
// What `muster bench allreduce` compares, on a GPU's memory or the host's.

#include <cstddef>
#include <functional>

#include "models/compute_device.h"
#include "trainer/comm/communicator.h"
#include "trainer/comm/gpu.h"

namespace muster {

/// On memory of one size. Each returns when it is done.
struct AllreduceWays {
  std::function<void(float value)> fill;  ///< all of the buffer
  std::function<void()> sum;              ///< collective, as gradients are summed
  std::function<void()> by_library;       ///< collective; empty: there is none
  std::function<void()> copy;
  std::function<float()> last;  ///< of the buffer
};

/// Collective. Of `count` floats, 1 at least.
using MakeWays = std::function<AllreduceWays(std::size_t count)>;

/// Collective. On the GPU that was selected, after sum_on_gpus; the library is NCCL without name, number or
/// watch. `comm` outlives it.
MakeWays gpu_allreduce_ways(Communicator& comm, Gpus& gpus, const ComputeDevice& device,
                            SumPrecision precision);

}  // namespace muster
