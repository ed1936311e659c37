#pragma once
// Compares what is read with what was validated, block by block.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "core/hash.h"
#include "data_loader/manifest/index_sidecar.h"
#include "data_loader/reading/block_reader.h"

namespace muster {

/// What was validated.
struct ValidatedPartitions {
  std::vector<std::filesystem::path> files;  ///< by number in the manifest
  std::vector<PartitionStamp> stamps;
  /// IndexSidecar::Entry::blocks of a partition. Thread-safe; Error{kData} if nobody knows them any more.
  std::function<const std::vector<Sha256>&(std::uint32_t partition)> hashes;
  std::map<std::uint32_t, Error> unreadable;  ///< partitions that are not opened at all
};

/// Reads through `reader`. What is read of a file whose size or time are not (or no longer) those that were
/// validated is hashed: Error{kData} names file, field and rows of a block whose values are others.
/// Thread-safe as `reader`.
std::unique_ptr<BlockReader> make_checked_block_reader(std::unique_ptr<BlockReader> reader,
                                                       const Contract& contract,
                                                       ValidatedPartitions validated);

}  // namespace muster
