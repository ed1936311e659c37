#pragma once
// A rank's end of an NCCL communicator, on a stream of its own.

#include <memory>
#include <string>

#include "trainer/comm/gpu.h"

namespace muster {

/// `id` of ncclGetUniqueId, as text of its bytes.
std::string new_nccl_id();

/// Collective: see Gpus::connect.
std::unique_ptr<GpuSums> connect_nccl(const std::string& id, int rank, int size, int index);

}  // namespace muster
