#pragma once
// The profile of a dataset, made by all ranks together.

#include <cstdint>
#include <functional>

#include "core/json.h"
#include "data_loader/dataset/dataset.h"
#include "trainer/comm/communicator.h"

namespace muster {

/// Collective. Each rank reads a run of blocks, all fields once; the same bits for any number of ranks.
/// `progress` (may be empty): blocks read by this rank, of how many. Memory per rank: one column of a block,
/// and for each field and split O(log blocks) sketches of at most 4,096 numbers, or counts of at most a
/// million texts. Failures are AgreedErrors.
Json profile_dataset(Communicator& comm, const Dataset& dataset,
                     const std::function<void(std::uint64_t, std::uint64_t)>& progress);

}  // namespace muster
