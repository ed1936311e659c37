#pragma once
// What an ingest spec says, with its sources open and checked against the contract.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data_loader/contract.h"
#include "data_loader/ingest.h"

namespace muster {

struct IngestSpec {
  struct Source {
    std::unique_ptr<RowSource> rows;
    /// Per contract field: the source's column, or nothing for the row number.
    std::vector<std::optional<std::size_t>> column_of_field;
  };
  std::vector<Source> sources;
  Contract contract;
  std::string contract_yaml;  ///< as the user wrote it, if it is a file of its own
  std::optional<std::size_t>
      row_number;             ///< the contract's field that gets the number of each row over all sources
  std::vector<Field> stored;  ///< the contract's fields as sources give them and partitions store them
  std::uint64_t rows = 0;     ///< as stored: tokens, where the contract's rows are windows
  std::uint32_t partitions = 1;
  /// Of each partition, where each source makes one (no window crosses from one text to the next); else
  /// empty.
  std::vector<std::uint64_t> partition_rows;

  /// Error{kConfig} with file:line:column for the spec's faults; the sources' own for theirs.
  static IngestSpec load(const std::filesystem::path& file, const std::filesystem::path& probe,
                         const LogSink& log, unsigned threads);
};

}  // namespace muster
