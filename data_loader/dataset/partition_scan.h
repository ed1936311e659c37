#pragma once
// Reads one whole partition: checks its values, hashes its blocks, assigns its rows to splits.

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "core/hash.h"
#include "data_loader/contract/contract.h"
#include "data_loader/dataset/fault_list.h"
#include "data_loader/manifest/index_sidecar.h"
#include "data_loader/manifest/manifest.h"

namespace muster {

/// How often each value of an integer label occurs, per split; given up beyond 100 values.
class LabelCounts {
 public:
  void add(std::uint8_t split, std::uint64_t value, std::uint64_t count = 1);
  void merge(const LabelCounts& other);
  /// By the value's decimal text; empty if given up.
  std::map<std::string, std::uint64_t> of(std::uint8_t split, DType type) const;

 private:
  static constexpr std::size_t kMost = 100;
  std::map<std::uint64_t, std::map<std::uint8_t, std::uint64_t>>
      counts_;  ///< by the value as 64 bits, sign extended
  bool too_many_ = false;
};

/// Where a value of a unique field lies.
struct UniqueValue {
  std::array<std::uint64_t, 2> key{};  ///< an integer as 64 bits; of a text 16 bytes of its SHA-256
  std::uint32_t partition = 0;
  std::uint64_t row = 0;
};

/// Least and greatest time.
struct TimeRange {
  double first = std::numeric_limits<double>::infinity();
  double last = -std::numeric_limits<double>::infinity();
  void add(const TimeRange& other) {
    first = std::min(first, other.first);
    last = std::max(last, other.last);
  }
};

struct PartitionScan {
  /// Keeps that many faults one by one.
  explicit PartitionScan(std::size_t keep_faults) : faults(keep_faults) {}

  FaultList faults;
  Sha256 content;                                ///< as in the manifest
  IndexSidecar::Entry entry;                     ///< for the sidecar
  std::vector<std::uint8_t> splits;              ///< of every row
  std::map<std::string, LabelCounts> labels;     ///< by the label's name, of integer labels
  std::uint64_t bytes = 0;                       ///< decoded
  std::map<std::string, std::uint64_t> missing;  ///< rows without a value, of fields that may miss some
  std::map<std::string, std::uint64_t> dropped;  ///< of these, rows left out for it (`missing: drop`)
  std::uint64_t dropped_rows = 0;                ///< each once
  std::map<std::string, std::vector<UniqueValue>> unique;  ///< of fields with `unique: true`
  std::map<std::uint8_t, TimeRange> times;                 ///< per split, of the time field
  std::vector<std::uint8_t> label_numbers;  ///< of every row where splits are stratified: index in `allowed`
};

/// Reads partition `number` of the manifest (its rows and block rows are known, its content is not) from
/// `file`, block by block, all fields. `rows_before`: see SplitAssigner. Damage that reading meets is a fault
/// too, and ends the scan. Throws Error{kStorage} if the file cannot be read.
PartitionScan scan_partition(const Contract& contract, const Partition& partition, std::uint32_t number,
                             const std::vector<std::uint64_t>& rows_before, const std::filesystem::path& file,
                             std::size_t keep_faults);

}  // namespace muster
