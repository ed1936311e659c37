#include "data_loader/dataset/scan_assembly.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "core/file_system.h"
#include "data_loader/dataset/split_assigner.h"

namespace muster {

std::vector<std::uint64_t> rows_before(const std::vector<Partition>& partitions) {
  std::vector<std::uint64_t> before = {0};
  for (const Partition& partition : partitions) before.push_back(before.back() + partition.rows);
  return before;
}

ScanAssembly::ScanAssembly(const Contract& contract, std::vector<Partition> partitions,
                           std::size_t keep_faults)
    : contract_(contract),
      manifest_{std::move(partitions), contract.hash(), {}},
      rows_(contract.split_names(), manifest_.blocks()),
      faults_(keep_faults),
      waiting_(manifest_.partitions.size()) {
  for (const std::size_t i : fields_by_name(contract)) sidecar_.fields.push_back(contract.fields()[i].name);
}

void ScanAssembly::add(std::size_t number, PartitionScan scan) {
  const std::lock_guard lock(mutex_);
  waiting_[number].emplace(std::move(scan));
  for (; next_ < waiting_.size() && waiting_[next_]; ++next_) {
    take(std::move(*waiting_[next_]));
    waiting_[next_].reset();
  }
}

void ScanAssembly::seal(std::vector<IngestRecord> sources) {
  manifest_.sources = std::move(sources);
  if (!totals_.label_numbers.empty()) deal_strata();
  manifest_.row_index = rows_.hash();
  sidecar_.fingerprint = manifest_.fingerprint();
}

void ScanAssembly::write(const std::filesystem::path& directory) const {
  const auto files = make_posix_file_system();
  const auto put = [&](const char* name, const std::vector<std::byte>& bytes) {
    files->replace(directory / name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  };
  put("rows.bin", rows_.serialize());
  put("index.bin", sidecar_.serialize());
  files->replace(directory / "manifest.json", manifest_.to_json().dump(2) + "\n");
}

void ScanAssembly::take(PartitionScan scan) {
  bytes_ += scan.bytes;
  count(scan);
  faults_.append(std::move(scan.faults));
  if (!faults_.empty()) return;
  Partition& partition = manifest_.partitions[next_];
  partition.content = scan.content;
  sidecar_.partitions.push_back(std::move(scan.entry));
  for (const auto& [label, counts] : scan.labels) labels_[label].merge(counts);
  for (const auto& [split, range] : scan.times) totals_.times[split].add(range);
  totals_.label_numbers.insert(totals_.label_numbers.end(), scan.label_numbers.begin(),
                               scan.label_numbers.end());
  if (scan.label_numbers.empty()) append_rows(partition, scan.splits);
}

void ScanAssembly::count(PartitionScan& scan) {
  for (const auto& [field, rows] : scan.missing) totals_.missing[field] += rows;
  for (const auto& [field, rows] : scan.dropped) totals_.dropped[field] += rows;
  totals_.dropped_rows += scan.dropped_rows;
  for (auto& [field, values] : scan.unique) {
    std::vector<UniqueValue>& all = totals_.unique[field];
    all.insert(all.end(), values.begin(), values.end());
  }
}

void ScanAssembly::append_rows(const Partition& partition, std::span<const std::uint8_t> splits) {
  for (std::uint64_t first = 0; first < partition.rows; first += partition.block_rows) {
    rows_.append_block(
        splits.subspan(first, std::min<std::uint64_t>(partition.block_rows, partition.rows - first)));
  }
}

void ScanAssembly::deal_strata() {
  const std::vector<std::uint64_t> before = rows_before(manifest_.partitions);
  const auto splits = stratify(std::get<FractionSplit>(contract_.splits()), totals_.label_numbers, before);
  const Field& label = *contract_.stratified_by();
  for (std::size_t p = 0; p < manifest_.partitions.size(); ++p) {
    const auto part = std::span(splits).subspan(before[p], before[p + 1] - before[p]);
    append_rows(manifest_.partitions[p], part);
  }
  for (std::size_t row = 0; row < splits.size(); ++row) {
    const std::uint8_t number = totals_.label_numbers[row];
    if (number == RowIndex::kNone) continue;
    labels_[label.name].add(splits[row],
                            static_cast<std::uint64_t>(static_cast<std::int64_t>(label.allowed[number])));
  }
}

}  // namespace muster
