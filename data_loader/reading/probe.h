#pragma once
// Opening HDF5 files that nobody vouched for: damaged ones crash and hang libhdf5, so a small program,
// muster-probe, does it first, with limits on its memory, time and declared size; many files per child.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "data_loader/reading/partition_file.h"

namespace muster {

struct ProbeLimits {
  std::uint64_t memory_bytes = std::uint64_t{2} << 30;
  double seconds_per_file = 20;
  std::uint64_t declared_bytes = std::uint64_t{1} << 46;  ///< of one dataset
  bool every_row = false;  ///< read to the end, not the first and the last row only
};

/// Whether an answer says that the child died, or had to be ended: what opening the file may do to any
/// process.
bool is_harmful(const Error& answer);

/// Probes files with the program at `program`: for each, in order, its datasets, or why it must not be opened
/// (Error{kData}, with the signal or limit if the child died; the next file gets a new child; Error{kStorage}
/// if it cannot be read at all). Reads the first and the last row of every dataset on the way, or all. Throws
/// Error{kStorage} if the program does not run.
std::vector<Result<std::vector<DatasetLayout>>> probe_files(const std::filesystem::path& program,
                                                            std::span<const std::filesystem::path> files,
                                                            const ProbeLimits& limits = {});

}  // namespace muster
