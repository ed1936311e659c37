#include "data_loader/ingest/csv_batch.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/fast_hash.h"
#include "data_loader/dataset/column_check.h"
#include "data_loader/dataset/fault_list.h"

namespace muster {

std::span<std::byte> CsvBatch::values(const CsvTable& table, std::size_t field, std::uint64_t first,
                                      std::uint64_t count) {
  const std::uint64_t bytes = table.fields[field].value_bytes();
  return std::span(columns[field]).subspan(first * bytes, count * bytes);
}

void CsvBatch::drop_rows(const CsvTable& table,
                         const std::function<std::optional<RowFault>(std::uint64_t row)>& fault_of) {
  std::uint64_t kept = 0;
  for (std::uint64_t row = 0; row < rows; ++row) {
    if (const auto fault = fault_of(row)) {
      faults.add(fault->cause, [&] { return csv_fault(table, lines[row], fault->message); });
      continue;
    }
    for (std::size_t i = 0; kept < row && i < table.fields.size(); ++i)
      std::ranges::copy(values(table, i, row, 1), values(table, i, kept, 1).begin());
    lines[kept++] = lines[row];
  }
  rows = kept;
  lines.resize(kept);
}

Error csv_fault(const CsvTable& table, std::uint64_t line, const std::string& message) {
  return {ErrorCode::kData, message, fmt::format("{}:{}", table.spec.file.string(), line)};
}

void drop_outside(CsvBatch& batch, const CsvTable& table) {
  std::vector<std::size_t> wrong_fields;
  for (std::size_t i = 0; i < table.fields.size(); ++i) {
    FaultList any(0);
    check_column(table.fields[i], batch.values(table, i, 0, batch.rows), 0, "", any);
    if (!any.empty()) wrong_fields.push_back(i);
  }
  if (wrong_fields.empty()) return;
  batch.drop_rows(table, [&](std::uint64_t row) -> std::optional<RowFault> {
    for (const std::size_t i : wrong_fields) {
      FaultList one(1);
      check_column(table.fields[i], batch.values(table, i, row, 1), 0, "", one);
      if (!one.empty()) return RowFault{"outside " + table.fields[i].name, one.kept().front().message()};
    }
    return std::nullopt;
  });
}

void RepeatedRows::drop(CsvBatch& batch, const CsvTable& table) {
  batch.drop_rows(table, [&](std::uint64_t row) -> std::optional<RowFault> {
    row_.clear();
    for (std::size_t i = 0; i < table.fields.size(); ++i) {
      const auto value = batch.values(table, i, row, 1);
      row_.insert(row_.end(), value.begin(), value.end());
    }
    if (seen_.insert(fast_hash(row_)).second) return std::nullopt;
    return RowFault{"repeated", "repeats an earlier row in every field"};
  });
}

}  // namespace muster
