#pragma once
// index.bin: what helps to trust partition files without reading them whole. Not part of a dataset's
// identity. Format: docs/index-sidecar.md.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/hash.h"

namespace muster {

/// What the sidecar remembers of a partition file, to notice that it changed.
struct PartitionStamp {
  std::uint64_t size = 0;
  std::int64_t modified_ns = 0;  ///< since 1970
  Sha256 ends;                   ///< SHA-256 of the first and the last 64 KiB
  bool operator==(const PartitionStamp&) const = default;

  /// The stamp of a file now. Error{kData} if there is no such file, Error{kStorage} if it cannot be read.
  static PartitionStamp of(const std::filesystem::path& file);
  enum class Match {
    kSame,     ///< size and time
    kNewTime,  ///< size and ends: a copy, or an overwrite in the middle that only the block hashes tell
    kOther
  };
  /// Compares with the file now. Throws as `of`.
  Match match(const std::filesystem::path& file) const;
  /// Whether the file has this size and time; false also where there is none.
  bool vouches_for(const std::filesystem::path& file) const;
};

struct IndexSidecar {
  struct Entry {
    PartitionStamp stamp;
    /// SHA-256 of each block's values of each field: hash of (block b, field f) at b × fields + f, fields in
    /// name order.
    std::vector<Sha256> blocks;
  };
  Sha256 fingerprint;               ///< of the manifest it belongs to
  std::vector<std::string> fields;  ///< in name order
  std::vector<Entry> partitions;    ///< in manifest order

  std::vector<std::byte> serialize() const;
  /// Throws Error{kStorage} with `where` for damage.
  static IndexSidecar deserialize(std::span<const std::byte> bytes, const std::string& where);
};

}  // namespace muster
