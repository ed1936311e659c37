#pragma once
// Compares what is read with what was validated, block by block.

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "core/hash.h"
#include "data_loader/block_reader.h"

namespace muster {

/// Hashes of validated partitions, by number in the manifest: as IndexSidecar::Entry::blocks.
using BlockHashes = std::map<std::uint32_t, std::vector<Sha256>>;

/// Reads through `reader` and hashes every block of the partitions in `expected`: Error{kData} names file,
/// field and rows of one whose values are others than those that were validated. Thread-safe as `reader`.
std::unique_ptr<BlockReader> make_checked_block_reader(std::unique_ptr<BlockReader> reader,
                                                       const Contract& contract, BlockHashes expected);

}  // namespace muster
