#pragma once
// What people give where a checkpoint is wanted: a checkpoint directory, or a run directory.

#include <filesystem>
#include <string>
#include <vector>

#include "core/file_system.h"
#include "core/log.h"

namespace muster {

/// The checkpoint directory meant by `text`: itself, or of a run its best one, else its newest good one.
/// Error{kStorage} if there is none. `log` is told which damaged ones are passed over.
std::filesystem::path resolve_checkpoint(FileSystem& files, const std::string& text, const LogSink& log);

/// All checkpoint directories meant by `text`: itself, or all of a run, oldest first.
std::vector<std::filesystem::path> all_checkpoints(FileSystem& files, const std::string& text);

}  // namespace muster
