#pragma once
// `muster selftest`: the promises, tried on the user's own machine. Each trial is replayable by its numbers.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "launch/console.h"

namespace muster {

struct SelftestOptions {
  std::uint64_t seed = 1;
  bool full = false;
  std::optional<std::uint64_t> only;  ///< one trial: replay it
  std::filesystem::path scratch;      ///< made, and removed at the end unless something failed
};

/// Checkpoints under faults of the file system and SIGKILL: {points, sites, kills, failures}.
Json selftest_crash(Console& console, const SelftestOptions& options);

/// Runs killed, stopped and resumed on other numbers of ranks: {threads, mpirun, edges, failures}.
Json selftest_elastic(Console& console, const SelftestOptions& options);

/// Faults of processes, storage, data and numbers, each with its line, exit code and time: {faults, tried,
/// seconds, failures}.
Json selftest_faults(Console& console, const SelftestOptions& options);

}  // namespace muster
