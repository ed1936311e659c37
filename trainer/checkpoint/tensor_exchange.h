#pragma once
// Tensors from rank 0 to all.

#include <vector>

#include "trainer/checkpoint/safetensors.h"
#include "trainer/comm/communicator.h"

namespace muster {

/// Collective. Rank 0's tensors on every rank; what the others give is ignored.
std::vector<TensorBlob> broadcast_tensors(Communicator& comm, const std::vector<TensorBlob>& tensors);

}  // namespace muster
