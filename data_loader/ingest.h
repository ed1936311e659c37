#pragma once
// Foreign data to partitions, as a spec (YAML) says. A new format is one new file with one registration line.
// Format: docs/ingest.md.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/log.h"
#include "core/registry.h"
#include "core/yaml.h"
#include "data_loader/contract.h"
#include "data_loader/partition_file.h"

namespace muster {

/// Reads rows of one source, front to back, in bounded memory.
class RowSource {
 public:
  virtual ~RowSource() = default;
  /// Total rows, known before the first is read.
  virtual std::uint64_t rows() const = 0;
  /// Fields this source gives, in the order of `read`'s columns.
  virtual const std::vector<Field>& fields() const = 0;
  /// The files it reads.
  virtual std::vector<std::filesystem::path> files() const = 0;
  /// Reads the next `rows` rows. Errors name file and offset or row.
  virtual void read(std::uint64_t rows, std::span<std::vector<std::byte>> columns) = 0;
};

/// What a source may know of the spec around it.
struct IngestContext {
  std::filesystem::path base;  ///< relative paths are relative to this
  /// The contract's fields that the source shall give, for formats whose files do not tell types.
  std::vector<Field> fields;
  std::filesystem::path probe;  ///< the program muster-probe; "" = open HDF5 files in this process
  LogSink log = silent_log();
  unsigned threads = 1;  ///< that may parse, beside the one that reads and writes
};

struct IngestFormat {
  /// Makes a source from one entry of the spec's `sources`.
  std::function<std::unique_ptr<RowSource>(const YamlNode& source, const IngestContext& context)> open;
  std::string help;
};

/// Shipped: csv, idx, text (gzip or not), hdf5.
inline Registry<IngestFormat>& ingest_formats() { return Registry<IngestFormat>::of_kind("ingest format"); }

struct IngestOptions {
  std::filesystem::path spec;
  std::filesystem::path out;
  std::filesystem::path probe;  ///< the program muster-probe, for HDF5 files that nobody vouched for
  Codec codec = Codec::kNone;
  std::optional<std::uint64_t> shuffle_seed;  ///< --shuffle: rows in random order
  bool append = false;                        ///< add partitions to the dataset in `out`, if there is one
  unsigned threads = 1;                       ///< that parse, beside the one that writes
  LogSink log = silent_log();
};

struct IngestReport {
  std::uint64_t rows_before = 0;  ///< that the dataset had
  std::uint64_t rows = 0;         ///< as stored
  bool tokens = false;            ///< a row is a token, of which the contract makes windows
  std::uint32_t partitions = 0;
  std::uint64_t bytes = 0;
};

/// Carries out a spec. Nothing appears in `out` under its final name unless it is whole; an existing dataset
/// is refused, unless it shall be added to: then what it has stays as it is.
IngestReport ingest(const IngestOptions& options);

}  // namespace muster
