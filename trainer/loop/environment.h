#pragma once
// What the bits of a run depend on beside its config: recorded in checkpoints, compared on resume.

#include <string>

#include "core/json.h"
#include "trainer/comm/communicator.h"
#include "trainer/config/config.h"

namespace muster {

/// Collective. {ranks, ranks_per_host (in rank order), threads, device, sums (how ranks' gradients are
/// added), torch, mpi, cpu (the kinds there are), code (git describe, where it was built from a checkout)}.
Json describe_environment(Communicator& comm, const Config& config, const std::string& mpi_version,
                          const std::string& device);

/// The entries that differ, as texts "ranks 4 → 3"; an empty array when the bits must be the same.
Json environment_changes(const Json& before, const Json& after);

}  // namespace muster
