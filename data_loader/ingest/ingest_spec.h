#pragma once
// What an ingest spec says; its sources, opened one by one and checked against the contract.

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/yaml.h"
#include "data_loader/contract/contract.h"
#include "data_loader/ingest/ingest.h"

namespace muster {

class IngestSpec {
 public:
  struct Source {
    std::size_t entry = 0;            ///< of the spec's list
    std::filesystem::path file;       ///< of a format by_file
    std::unique_ptr<RowSource> rows;  ///< nothing until it is opened
    /// Per contract field: the source's column, or nothing for the row number.
    std::vector<std::optional<std::size_t>> column_of_field;
  };

  /// Opens no source. Error{kConfig} with file:line:column for the spec's faults, Error{kUsage} for options
  /// that it does not suit.
  explicit IngestSpec(const IngestOptions& options);

  const Contract& contract() const { return contract_; }
  /// As the user wrote it, if it is a file of its own.
  const std::string& contract_yaml() const { return contract_yaml_; }
  /// The contract's fields as sources give them and partitions store them.
  const std::vector<Field>& stored() const { return stored_; }
  /// One for each file of an entry whose format reads one file, else one for each entry.
  std::vector<Source>& sources() { return sources_; }

  /// Opens source `i`, if it is not open. `known_rows`: what another one has counted. The source's own
  /// errors, Error{kConfig} where it does not give the contract's fields.
  void open(std::size_t i, std::optional<std::uint64_t> known_rows = {});
  /// How rows are dealt to partitions, once all sources' rows are known: the rows of each partition, as they
  /// are stored. Error{kConfig} if there are none.
  std::vector<std::uint64_t> partition_rows(std::span<const std::uint64_t> rows_of_source) const;

 private:
  void leave_out(const IngestOptions& options);
  std::vector<std::filesystem::path> files_of(const YamlNode& entry, const IngestOptions& options) const;
  const YamlNode& entry(std::size_t i) const { return document_.require("sources").items()[i]; }

  YamlNode document_;
  IngestContext context_;
  Contract contract_;
  std::string contract_yaml_;
  std::optional<std::size_t> row_number_;  ///< the field that gets the number of each row over all sources
  std::vector<Field> stored_;
  std::vector<Source> sources_;
};

}  // namespace muster
