#pragma once
// What validate has found, put together in partition order, and the three files it writes.

#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data_loader/contract/contract.h"
#include "data_loader/dataset/fault_list.h"
#include "data_loader/dataset/partition_scan.h"
#include "data_loader/manifest/index_sidecar.h"
#include "data_loader/manifest/manifest.h"
#include "data_loader/manifest/row_index.h"

namespace muster {

/// Rows of the partitions before each one, and of all.
std::vector<std::uint64_t> rows_before(const std::vector<Partition>& partitions);

/// Puts scans, which end in any order, together in partition order.
class ScanAssembly {
 public:
  /// `contract` must outlive it. `keep_faults`: how many are kept, all are counted.
  ScanAssembly(const Contract& contract, std::vector<Partition> partitions, std::size_t keep_faults);

  /// Thread-safe. The splits of a scan's rows are held only until the partitions before it have arrived.
  void add(std::size_t number, PartitionScan scan);

  // All of the following once every scan has been added.
  const FaultList& faults() const { return faults_; }
  const RowIndex& rows() const { return rows_; }
  const std::map<std::string, LabelCounts>& labels() const { return labels_; }
  std::uint64_t bytes() const { return bytes_; }
  const Manifest& manifest() const { return manifest_; }
  const PartitionScan& totals() const { return totals_; }
  /// Once: they are a row's worth of memory each.
  std::map<std::string, std::vector<UniqueValue>> take_unique() { return std::move(totals_.unique); }

  /// Where there is no fault: deals strata, hashes. `sources` goes into the manifest.
  void seal(std::vector<IngestRecord> sources);
  /// The manifest last: until it is there the dataset is the old one, or says that its files do not fit
  /// together. Error{kStorage}.
  void write(const std::filesystem::path& directory) const;

 private:
  void take(PartitionScan scan);
  void count(PartitionScan& scan);
  void append_rows(const Partition& partition, std::span<const std::uint8_t> splits);
  void deal_strata();

  std::mutex mutex_;
  const Contract& contract_;
  Manifest manifest_;
  RowIndex rows_;
  IndexSidecar sidecar_;
  FaultList faults_;
  std::map<std::string, LabelCounts> labels_;
  PartitionScan totals_{0};  ///< of all partitions; its faults are in faults_
  std::uint64_t bytes_ = 0;
  std::vector<std::optional<PartitionScan>> waiting_;
  std::size_t next_ = 0;
};

}  // namespace muster
