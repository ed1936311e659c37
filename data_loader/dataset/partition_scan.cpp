#include "data_loader/dataset/partition_scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "data_loader/contract/field_summary.h"
#include "data_loader/dataset/column_check.h"
#include "data_loader/dataset/missing_rows.h"
#include "data_loader/dataset/split_assigner.h"
#include "data_loader/manifest/row_index.h"
#include "data_loader/reading/partition_file.h"

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

namespace {

class Scanner {
 public:
  Scanner(const Contract& contract, const Partition& partition, std::uint32_t number,
          const std::vector<std::uint64_t>& rows_before, std::filesystem::path path, PartitionScan& scan)
      : contract_(contract),
        partition_(partition),
        number_(number),
        path_(std::move(path)),
        file_(path_),
        assigner_(contract, rows_before),
        by_name_(fields_by_name(contract)),
        columns_(contract.fields().size()),
        stratified_by_(contract.stratified_by()),
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
    auto splits = assigner_.assign(
        number_, first, rows,
        field < 0 ? std::span<const std::byte>() : columns_[static_cast<std::size_t>(field)]);
    note_label_numbers(rows);
    leave_out(splits);
    note_unique(first, rows);
    note_times(splits);
    count_labels(splits);
    scan_.splits.insert(scan_.splits.end(), splits.begin(), splits.end());
  }

  std::vector<std::byte>& column(const Field& field) {
    return columns_[static_cast<std::size_t>(&field - contract_.fields().data())];
  }

  /// Counts missing values, and takes rows that lack what they must have out of their splits.
  void leave_out(std::span<std::uint8_t> splits) {
    std::vector<bool> dropped(splits.size(), false);
    for (const Field& field : contract_.fields()) {
      if (!field.can_be_missing()) continue;
      const std::vector<bool> missing = missing_rows(field, column(field), splits.size());
      const auto count = static_cast<std::uint64_t>(std::count(missing.begin(), missing.end(), true));
      scan_.missing[field.name] += count;
      if (field.missing != Missing::kDrop) continue;
      scan_.dropped[field.name] += count;
      for (std::size_t row = 0; row < missing.size(); ++row) dropped[row] = dropped[row] || missing[row];
    }
    for (std::size_t row = 0; row < splits.size(); ++row) {
      if (!dropped[row]) continue;
      splits[row] = RowIndex::kNone;
      if (stratified_by_ != nullptr)
        scan_.label_numbers[scan_.label_numbers.size() - splits.size() + row] = RowIndex::kNone;
      ++scan_.dropped_rows;
    }
  }

  void note_unique(std::uint64_t first, std::uint64_t rows) {
    for (const Field& field : contract_.fields()) {
      if (!field.unique) continue;
      std::vector<UniqueValue>& values = scan_.unique[field.name];
      const std::vector<bool> missing = missing_rows(field, column(field), rows);
      for (std::uint64_t row = 0; row < rows; ++row) {
        if (!(field.can_be_missing() && missing[row]))
          values.push_back({key_of(field, row), number_, first + row});
      }
    }
  }

  std::array<std::uint64_t, 2> key_of(const Field& field, std::uint64_t row) {
    std::array<std::uint64_t, 2> key{};
    if (field.is_text()) {
      const Sha256 hash = sha256(std::as_bytes(std::span(text_at(field, column(field), row))));
      std::memcpy(key.data(), hash.bytes.data(), sizeof key);
      return key;
    }
    return visit(field.dtype, [&]<typename T>(T*) {
      key[0] = static_cast<std::uint64_t>(reinterpret_cast<const T*>(column(field).data())[row]);
      return key;
    });
  }

  void note_times(std::span<const std::uint8_t> splits) {
    const Field* time = contract_.only(Role::kTime);
    if (time == nullptr) return;
    visit(time->dtype, [&]<typename T>(T*) {
      const auto* values = reinterpret_cast<const T*>(column(*time).data());
      for (std::size_t row = 0; row < splits.size(); ++row) {
        if (time->is_missing(values[row])) continue;
        const auto at = static_cast<double>(values[row]);
        scan_.times[splits[row]].add({at, at});
      }
    });
  }

  /// The place of each row's label among the allowed ones; values beyond them are faults anyway.
  void note_label_numbers(std::uint64_t rows) {
    if (stratified_by_ == nullptr) return;
    const Field& label = *stratified_by_;
    visit(label.dtype, [&]<typename T>(T*) {
      const auto* values = reinterpret_cast<const T*>(column(label).data());
      for (std::uint64_t row = 0; row < rows; ++row) {
        const auto place =
            std::lower_bound(label.allowed.begin(), label.allowed.end(), static_cast<double>(values[row]));
        const bool known = place != label.allowed.end() && *place == static_cast<double>(values[row]);
        scan_.label_numbers.push_back(known ? static_cast<std::uint8_t>(place - label.allowed.begin())
                                            : RowIndex::kNone);
      }
    });
  }

  /// Where splits are stratified the rows are not dealt yet: their label is counted when they are.
  void count_labels(std::span<const std::uint8_t> splits) {
    if (stratified_by_ != nullptr) return;
    for (const std::size_t number : contract_.labels()) {
      const Field& label = contract_.fields()[number];
      if (is_float(label.dtype) || !label.shape.empty()) continue;
      LabelCounts& counts = scan_.labels[label.name];
      visit(label.dtype, [&]<typename T>(T*) {
        for (std::size_t row = 0; row < splits.size(); ++row) {
          T value;
          std::memcpy(&value, columns_[number].data() + row * sizeof(T), sizeof(T));
          counts.add(splits[row], static_cast<std::uint64_t>(value));
        }
      });
    }
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
  const Field* stratified_by_;  ///< nullptr: splits are not stratified
  PartitionScan& scan_;
};

}  // namespace

PartitionScan scan_partition(const Contract& contract, const Partition& partition, std::uint32_t number,
                             const std::vector<std::uint64_t>& rows_before, const std::filesystem::path& file,
                             std::size_t keep_faults) {
  PartitionScan scan(keep_faults);
  try {
    scan.entry.stamp = PartitionStamp::of(file);
    Scanner(contract, partition, number, rows_before, file, scan).run();
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
