#pragma once
// What one rank writes of a checkpoint: some of its files, whole, hashed, synced and read back.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/file_system.h"
#include "core/json.h"
#include "trainer/checkpoint/checkpoint_manifest.h"
#include "trainer/checkpoint/safetensors.h"

namespace muster {

/// One file in memory: tensors (".safetensors" by name) or a text.
struct CheckpointFile {
  std::string name;
  std::vector<TensorBlob> tensors;
  std::string text;
};

struct CheckpointPart {
  std::vector<CheckpointFile> files;
  std::uint64_t checkpoint_bytes = 0;  ///< of all ranks' parts, about: so much room is asked for
};

/// By file name.
using FileStamps = std::map<std::string, FileStamp>;
Json to_json(const FileStamps& stamps);

/// Writes the part's files into directory `draft` (made if need be), which ranks may share. Each file is
/// synced and then read back from the disk: what is returned was there. Error{kStorage}: no room, a failed
/// write, or a file whose content is not what was written.
FileStamps write_part(FileSystem& files, const std::filesystem::path& draft, const CheckpointPart& part);

/// As write_part does with each of its files.
FileStamp write_file(FileSystem& files, const std::filesystem::path& path, const CheckpointFile& file);

/// Error{kStorage} with the path unless the file fits its stamp.
void check_file(FileSystem& files, const std::filesystem::path& path, const FileStamp& stamp, bool from_disk);

}  // namespace muster
