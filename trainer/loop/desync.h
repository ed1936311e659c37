#pragma once
// Whether all ranks still have the same weights. Data-parallel training keeps them equal to the bit: a rank
// that differs has met a fault of memory, of a library, or a model that draws its own random numbers.

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/comm/communicator.h"

namespace muster {

/// The ranks whose text is not the most frequent one; all, where none is in the majority.
std::vector<int> odd_ranks(const std::vector<std::string>& of_ranks);

/// Collective. `hash` of this rank's weights, buffers and optimizer steps after `step` steps:
/// AgreedError{kBug} names the ranks that differ.
void check_same_weights(Communicator& comm, std::uint64_t step, const std::string& hash);

}  // namespace muster
