#pragma once
// A checkpoint's weights as one file for other programs.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/file_system.h"

namespace muster {

struct ExportReport {
  std::uint64_t step = 0;
  std::size_t tensors = 0;
  std::uint64_t bytes = 0;  ///< of the file
};

/// Writes the weights of `checkpoint` (all hashes verified) to `out`, a safetensors file, which is there
/// whole or not at all; its metadata name run, step and data. `names`: "OURS = THEIRS" or "OURS = THEIRS
/// transposed", what tensors shall be called, or one of the lists that the model's factory has. Error{kUsage}
/// if `out` exists, Error{kConfig} for a rule that cannot be read or fits no tensor, for two tensors of one
/// name, and for `transposed` of what is no matrix.
ExportReport export_weights(FileSystem& files, const std::filesystem::path& checkpoint,
                            const std::filesystem::path& out, const std::vector<std::string>& names);

}  // namespace muster
