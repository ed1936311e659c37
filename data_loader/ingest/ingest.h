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
#include "data_loader/contract/contract.h"
#include "data_loader/reading/partition_file.h"

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
  /// Passes over the next `rows` rows: reads them, where a format knows no better.
  virtual void skip(std::uint64_t rows);
};

/// What a source may know of the spec around it.
struct IngestContext {
  std::filesystem::path base;  ///< relative paths are relative to this
  std::filesystem::path file;  ///< of a format by_file: the one to read
  /// The contract's fields that the source shall give, for formats whose files do not tell types.
  std::vector<Field> fields;
  /// Fields that the spec may speak of all the same, as its contract has them: see IngestOptions::without.
  std::vector<std::string> left_out;
  std::filesystem::path probe;  ///< the program muster-probe; "" = open HDF5 files in this process
  LogSink log = silent_log();
  unsigned threads = 1;                     ///< that may parse, beside the one that reads and writes
  std::optional<std::uint64_t> known_rows;  ///< another rank has counted them
};

struct IngestFormat {
  /// Makes a source from one entry of the spec's `sources`.
  std::function<std::unique_ptr<RowSource>(const YamlNode& source, const IngestContext& context)> open;
  std::string help;
  /// A source is one file, IngestContext::file: `file`, or each of `files`, of the entry.
  bool by_file = false;
};

/// Shipped: csv, idx, text (gzip or not), hdf5.
inline Registry<IngestFormat>& ingest_formats() { return Registry<IngestFormat>::of_kind("ingest format"); }

struct IngestOptions {
  std::filesystem::path spec;
  std::filesystem::path out;
  std::filesystem::path probe;  ///< the program muster-probe, for HDF5 files that nobody vouched for
  std::vector<std::filesystem::path> files;  ///< instead of those of the spec's one source
  bool unlabelled = false;                   ///< rows to be scored: without labels and weights
  std::vector<std::string> without;          ///< fields of the spec's contract that the files do not have
  Codec codec = Codec::kNone;
  std::optional<std::uint64_t> shuffle_seed;  ///< --shuffle: rows in random order
  bool append = false;                        ///< add partitions to the dataset in `out`, if there is one
  bool again = false;                         ///< also files that it was made of already
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

/// One ingest in the steps that several ranks take together, each doing its share of the sources and writing
/// its share of the partitions: the same bytes for any number of ranks. Between two steps every rank must
/// know that no other has failed. Destroyed before `published`, it removes the partitions that it made.
class Ingest {
 public:
  /// Reads the spec, counts the rows of this rank's sources.
  Ingest(IngestOptions options, std::size_t rank, std::size_t world);
  ~Ingest();
  Ingest(const Ingest&) = delete;
  Ingest& operator=(const Ingest&) = delete;

  /// Rows of this rank's sources: source i is of rank i mod world.
  std::vector<std::uint64_t> counted() const;
  /// `counted` of all ranks, in their order: decides what this rank writes, and opens what it needs for it.
  void plan(std::span<const std::vector<std::uint64_t>> counted);
  /// Writes this rank's partitions, under names that are no dataset yet.
  void write();
  /// Once all ranks have written: the files of each of this rank's sources, with their hashes, as a JSON
  /// text. Error{kData} if one has changed since it was opened.
  std::string sources() const;
  /// By rank 0, `sources` of all ranks in their order: makes it a dataset. Error{kUsage} if a file was
  /// ingested before, unless IngestOptions::again.
  void publish(std::span<const std::string> sources);
  /// By every rank, once rank 0 has published: what was made stays.
  IngestReport published();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Carries out a spec, alone. Nothing appears in `out` under its final name unless it is whole; an existing
/// dataset is refused, unless it shall be added to: then what it has stays as it is.
IngestReport ingest(const IngestOptions& options);

}  // namespace muster
