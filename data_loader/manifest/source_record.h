#pragma once
// sources.json: which files the partitions of an ingested dataset were made of. Format: docs/ingest.md.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/file_system.h"
#include "core/hash.h"
#include "core/json.h"

namespace muster {

/// A file that rows came from.
struct SourceFile {
  std::string name;  ///< relative to the spec's folder where it lies below, else its file name
  std::uint64_t bytes = 0;
  Sha256 content;  ///< of its bytes as they are, compressed or not
};

/// One finished ingest.
struct IngestRecord {
  std::uint64_t rows = 0;               ///< as stored
  std::vector<std::string> partitions;  ///< file names it made
  std::vector<SourceFile> files;
};

/// Reads each file once. Error{kStorage}.
std::vector<SourceFile> hash_sources(std::span<const std::filesystem::path> files,
                                     const std::filesystem::path& base);

/// A list, one entry per record: what sources.json and the manifest hold.
Json sources_to_json(std::span<const IngestRecord> records);
/// Error{kStorage} with `where`.
std::vector<IngestRecord> sources_from_json(const Json& json, const std::string& where);

/// Of a dataset directory; empty if it has no sources.json. Error{kStorage} if that is damaged.
std::vector<IngestRecord> load_sources(FileSystem& files, const std::filesystem::path& directory);
void save_sources(FileSystem& files, const std::filesystem::path& directory,
                  std::span<const IngestRecord> records);

/// Whether this is how ingest names partitions: part-00017.h5.
bool is_partition_name(std::string_view name);

}  // namespace muster
