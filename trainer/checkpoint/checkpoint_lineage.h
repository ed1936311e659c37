#pragma once
// Claims, and the order in which a run's checkpoints are to be tried: the rule that keeps orphans out.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/file_system.h"

namespace muster {

/// The checkpoints a start may continue from, best first. A pure function of claims and names: whether a
/// checkpoint is good is not looked at.
struct Lineage {
  std::uint64_t generation = 0;    ///< the highest that is claimed or has a checkpoint; 0: none
  std::vector<std::string> names;  ///< a claim's parent is named even if it is gone
  std::vector<Error> damage;       ///< claims on the way that are missing or unreadable
};

/// `directory` is RUN/checkpoints.
Lineage read_lineage(FileSystem& files, const std::filesystem::path& directory);

/// The highest claimed generation; 0: none.
std::uint64_t highest_claim(FileSystem& files, const std::filesystem::path& directory);

/// Claims `generation` durably; false, and nothing done, if somebody else has.
bool write_claim(FileSystem& files, const std::filesystem::path& directory, std::uint64_t generation,
                 const std::string& parent, const std::string& run_id);

/// The checkpoint that the generation of checkpoint `name` continued from, "" for the first: what its claim
/// says. Error{kStorage} if the claim is gone or damaged.
std::string parent_of_generation(FileSystem& files, const std::filesystem::path& directory,
                                 const std::string& name);

}  // namespace muster
