#pragma once
// The seam of reading: whole blocks of one field at a time. Two implementations: HDF5 files and memory.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data_loader/contract/contract.h"
#include "data_loader/manifest/manifest.h"

namespace muster {

/// Gives the decoded values of a block. Thread-safe.
class BlockReader {
 public:
  virtual ~BlockReader() = default;
  /// Reads all rows of block `block` of contract field `field` (index in contract.fields()) as little-endian
  /// values of the contract's dtype, row-major; `out` has exactly rows × bytes_per_row bytes. Throws
  /// Error{kData} or Error{kStorage} with `where` = "file:dataset[first..last row]".
  virtual void read(std::uint32_t block, std::size_t field, std::span<std::byte> out) = 0;
  /// Closes what it keeps open of a partition: the next read opens the file anew.
  virtual void forget(std::uint32_t partition) { static_cast<void>(partition); }
  virtual const std::vector<Block>& blocks() const = 0;
  /// What errors call a partition: its file, where it has one.
  virtual std::string partition_name(std::uint32_t partition) const {
    return "partition " + std::to_string(partition);
  }
};

/// Reads HDF5 partitions below `root` with libhdf5, behind one mutex. Opens files when first needed, and
/// again where another file has taken a path; checks each field's type and shape against the contract then.
/// `max_open_files` bounds the open descriptors. Where blocks cut chunks the library keeps decoded chunks: 32
/// MiB in all, or 1 MiB per field of the one file in use; this comes on top of a stream's memory.
std::unique_ptr<BlockReader> make_hdf5_block_reader(const Contract& contract, const Manifest& manifest,
                                                    const std::filesystem::path& root,
                                                    std::size_t max_open_files = 64);

/// Values in memory: `columns[field]` holds all rows of all partitions, in manifest order.
std::unique_ptr<BlockReader> make_memory_block_reader(const Contract& contract, std::vector<Block> blocks,
                                                      std::vector<std::vector<std::byte>> columns);

}  // namespace muster
