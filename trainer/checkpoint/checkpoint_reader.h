#pragma once
// Checkpoints as they are on disk, never trusted: each file is checked against the manifest's hash. Format:
// docs/checkpoint.md.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/file_system.h"
#include "core/json.h"
#include "trainer/checkpoint/safetensors.h"

namespace muster {

/// The version that is written, and the newest that is read.
constexpr std::int64_t kCheckpointFormat = 1;

/// What a checkpoint holds, in memory.
struct CheckpointContent {
  std::uint64_t step = 0;  ///< global: optimizer steps done
  /// What the trainer wants to find again: cursor, running digest, bucket plan, best metric, fingerprint,
  /// config, versions….
  Json state;
  Json pipeline;
  std::string contract_yaml;
  std::vector<TensorBlob> model;
  std::vector<TensorBlob> optimizer;
};

/// A checkpoint's manifest.json, parsed.
struct CheckpointInfo {
  std::filesystem::path directory;
  std::string name;  ///< "g0003-step-00001200"
  std::uint64_t generation = 0;
  std::uint64_t step = 0;
  std::string parent;  ///< name of the checkpoint its run continued from; "" for a fresh start
  std::string run_id;
  Json manifest;
};

/// Reads a checkpoint's manifest and checks size and SHA-256 of every file it lists, several at a time; the
/// manifest's own hash too.
Result<CheckpointInfo> verify_checkpoint(FileSystem& files, const std::filesystem::path& directory);
/// As verify_checkpoint, then reads the content.
Result<CheckpointContent> load_checkpoint(FileSystem& files, const std::filesystem::path& directory);

}  // namespace muster
