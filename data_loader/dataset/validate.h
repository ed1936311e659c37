#pragma once
// validate: reads every value of every partition once, checks it against the contract, and writes
// manifest.json, rows.bin and index.bin.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "data_loader/manifest/manifest.h"

namespace muster {

struct ValidateOptions {
  std::filesystem::path directory;
  std::filesystem::path root;    ///< "" = the directory
  std::filesystem::path probe;   ///< the muster-probe program; "" = open files in this process
  unsigned threads = 1;          ///< partitions at a time
  std::uint32_t block_rows = 0;  ///< 0: the chunk of the widest field, or choose_block_rows
  std::size_t max_faults = 20;   ///< faults reported one by one; all are counted
  LogSink log = silent_log();
};

struct SplitSummary {
  std::string name;
  std::uint64_t rows = 0;
  std::map<std::string, std::uint64_t>
      label_counts;  ///< of the only label: an integer with at most 100 values
  std::map<std::string, std::map<std::string, std::uint64_t>> counts_of_labels;  ///< of several, by name
  std::optional<std::pair<double, double>> times;  ///< least and greatest of the time field
};

struct ValidateReport {
  Manifest manifest;
  std::vector<SplitSummary> splits;
  std::uint64_t rows = 0;
  std::uint64_t rows_in_no_split = 0;
  std::uint64_t dropped_rows = 0;  ///< of these: a value of theirs is missing that `missing: drop` asks for
  std::map<std::string, std::uint64_t> dropped;  ///< by the field it is missing in
  std::map<std::string, std::uint64_t> missing;  ///< missing values of the fields that may miss some
  /// Tokens after the last whole window of each partition, in no row, by the field that has windows.
  std::map<std::string, std::uint64_t> tokens_left_over;
  std::uint64_t bytes = 0;        ///< decoded
  std::vector<Error> faults;      ///< the first ones, in partition order; empty, or nothing was written
  std::uint64_t fault_count = 0;  ///< of all
  std::map<std::string, std::uint64_t>
      faults_by_field;                ///< of values; what concerns a whole file is not in it
  std::vector<std::string> warnings;  ///< lines: empty splits, equal partitions, datasets without a field
  Json to_json() const;
};

/// Validates a dataset directory. Partitions are the *.h5 and *.hdf5 files of the root, in name order. With
/// faults nothing is written and an existing manifest stays. Throws Error for what concerns the whole (no
/// contract, no partition, storage).
ValidateReport validate(const ValidateOptions& options);

}  // namespace muster
