#pragma once
// The manifest: which partitions a dataset has, and the hashes that identify it. Format: docs/manifest.md.

#include <cstdint>
#include <string>
#include <vector>

#include "core/hash.h"
#include "core/json.h"
#include "data_loader/manifest/source_record.h"

namespace muster {

struct Partition {
  std::string name;  ///< unique; the file name
  std::string path;  ///< relative to the data root; not part of the identity
  std::uint64_t rows = 0;
  std::uint32_t block_rows = 0;  ///< rows of every block but the last; > 0
  Sha256 content;  ///< SHA-256 over the SHA-256 of each block's decoded values, little-endian, fields in name
                   ///< order
};

/// A run of consecutive rows of one partition: what is read and decoded together.
struct Block {
  std::uint32_t partition = 0;  ///< number in the manifest
  std::uint64_t first_row = 0;
  std::uint32_t rows = 0;
};

struct Manifest {
  std::vector<Partition> partitions;
  Sha256 contract;
  Sha256 row_index;
  std::vector<IngestRecord>
      sources;  ///< what the partitions were made of, as ingest recorded it; no identity

  /// SHA-256 over the canonical form of partitions (name, rows, block rows, content), contract and row index:
  /// never of paths, times or codecs.
  Sha256 fingerprint() const;
  /// All blocks in partition order: a block's number is its index here.
  std::vector<Block> blocks() const;
  std::uint64_t rows() const;

  Json to_json() const;
  /// Throws Error{kStorage} with `where` for anything malformed, or a fingerprint that does not match.
  static Manifest from_json(const Json& json, const std::string& where);
};

}  // namespace muster
