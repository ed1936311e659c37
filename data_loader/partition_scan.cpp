#include "data_loader/partition_scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <type_traits>

#include "data_loader/column_check.h"
#include "data_loader/partition_file.h"
#include "data_loader/split_assigner.h"

namespace muster {

void LabelCounts::add(std::uint8_t split, std::uint64_t value, std::uint64_t count) {
  if (too_many_) return;
  counts_[value][split] += count;
  if (counts_.size() <= kMost) return;
  too_many_ = true;
  counts_.clear();
}

void LabelCounts::merge(const LabelCounts& other) {
  if (other.too_many_) {
    too_many_ = true;
    counts_.clear();
  }
  for (const auto& [value, splits] : other.counts_) {
    for (const auto& [split, count] : splits) add(split, value, count);
  }
}

std::map<std::string, std::uint64_t> LabelCounts::of(std::uint8_t split, DType type) const {
  std::map<std::string, std::uint64_t> counts;
  for (const auto& [value, splits] : counts_) {
    const auto found = splits.find(split);
    if (found == splits.end()) continue;
    counts[type == DType::kUInt64 ? fmt::to_string(value)
                                  : fmt::to_string(static_cast<std::int64_t>(value))] = found->second;
  }
  return counts;
}

std::vector<std::size_t> fields_by_name(const Contract& contract) {
  const std::vector<Field>& fields = contract.fields();
  std::vector<std::size_t> order(fields.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return fields[a].name < fields[b].name; });
  return order;
}

namespace {

class Scanner {
 public:
  Scanner(const Contract& contract, const Partition& partition, std::uint32_t number,
          std::filesystem::path path, PartitionScan& scan)
      : contract_(contract),
        partition_(partition),
        number_(number),
        path_(std::move(path)),
        file_(path_),
        assigner_(contract),
        by_name_(fields_by_name(contract)),
        columns_(contract.fields().size()),
        scan_(scan) {}

  void run() {
    for (std::uint64_t first = 0; first < partition_.rows; first += partition_.block_rows) {
      block(first, std::min<std::uint64_t>(partition_.block_rows, partition_.rows - first));
    }
    scan_.content = content_.finish();
  }

 private:
  void block(std::uint64_t first, std::uint64_t rows) {
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const Field& field = contract_.fields()[i];
      columns_[i].resize(rows * field.bytes_per_row());
      file_.read_rows(field, first, rows, columns_[i]);
      scan_.bytes += columns_[i].size();
      check_column(field, columns_[i], first, path_.string(), scan_.faults);
    }
    Sha256Hasher hasher;
    for (const std::size_t i : by_name_) {
      scan_.entry.blocks.push_back(sha256(columns_[i]));
      hasher.update(std::as_bytes(std::span(scan_.entry.blocks.back().bytes)));
    }
    const Sha256 block_hash = hasher.finish();
    content_.update(std::as_bytes(std::span(block_hash.bytes)));
    const int field = assigner_.field();
    const auto splits = assigner_.assign(
        number_, first, rows,
        field < 0 ? std::span<const std::byte>() : columns_[static_cast<std::size_t>(field)]);
    count_labels(splits);
    scan_.splits.insert(scan_.splits.end(), splits.begin(), splits.end());
  }

  void count_labels(std::span<const std::uint8_t> splits) {
    const Field* label = contract_.only(Role::kLabel);
    if (label == nullptr || is_float(label->dtype)) return;
    const std::vector<std::byte>& column =
        columns_[static_cast<std::size_t>(label - contract_.fields().data())];
    visit(label->dtype, [&]<typename T>(T*) {
      for (std::size_t row = 0; row < splits.size(); ++row) {
        T value;
        std::memcpy(&value, column.data() + row * sizeof(T), sizeof(T));
        scan_.labels.add(splits[row], static_cast<std::uint64_t>(value));
      }
    });
  }

  const Contract& contract_;
  const Partition& partition_;
  std::uint32_t number_;
  std::filesystem::path path_;
  PartitionFile file_;
  SplitAssigner assigner_;
  std::vector<std::size_t> by_name_;
  std::vector<std::vector<std::byte>> columns_;
  Sha256Hasher content_;
  PartitionScan& scan_;
};

}  // namespace

PartitionScan scan_partition(const Contract& contract, const Partition& partition, std::uint32_t number,
                             const std::filesystem::path& file, std::size_t keep_faults) {
  PartitionScan scan{
      .faults = FaultList(keep_faults), .content = {}, .entry = {}, .splits = {}, .labels = {}};
  try {
    scan.entry.stamp = PartitionStamp::of(file);
    Scanner(contract, partition, number, file, scan).run();
    if (PartitionStamp::of(file) != scan.entry.stamp) {
      scan.faults.add(Error(ErrorCode::kData,
                            "changed while it was read: validate again when nobody writes it",
                            file.string()));
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) throw;
    scan.faults.add(error);
  }
  return scan;
}

}  // namespace muster
