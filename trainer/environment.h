#pragma once
// What the bits of a run depend on beside its config: recorded in checkpoints, compared on resume.

#include <string>

#include "core/json.h"
#include "trainer/config.h"

namespace muster {

/// {ranks, threads, device, torch, mpi, cpu, code}.
Json describe_environment(int ranks, const Config& config, const std::string& mpi_version);

/// The entries that differ, as texts "ranks 4 → 3"; an empty array when the bits must be the same.
Json environment_changes(const Json& before, const Json& after);

}  // namespace muster
