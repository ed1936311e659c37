#pragma once
// Consecutive rows of a CSV file as columns, and which of them are not wanted.

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_set>
#include <vector>

#include "data_loader/dataset/fault_groups.h"
#include "data_loader/ingest/csv_row_parser.h"
#include "data_loader/ingest/csv_table.h"

namespace muster {

struct CsvBatch {
  std::uint64_t rows = 0;                       ///< good ones
  std::vector<std::vector<std::byte>> columns;  ///< per field, `rows` values and room for more
  std::vector<std::uint64_t> lines;             ///< of the good ones, from 1
  FaultGroups faults;                           ///< of the wrong ones, with file:line

  /// The values of some rows of a field of `table`.
  std::span<std::byte> values(const CsvTable& table, std::size_t field, std::uint64_t first,
                              std::uint64_t rows);
  /// Takes out the rows that have a fault, and notes it.
  void drop_rows(const CsvTable& table,
                 const std::function<std::optional<RowFault>(std::uint64_t row)>& fault_of);
};

Error csv_fault(const CsvTable& table, std::uint64_t line, const std::string& message);

/// Takes out the rows that the contract's ranges and lists refuse.
void drop_outside(CsvBatch& batch, const CsvTable& table);

/// Finds rows that are equal to an earlier one of their file in every field, by a hash of 128 bits. About 60
/// bytes of memory for each different row. One thread.
class RepeatedRows {
 public:
  void drop(CsvBatch& batch, const CsvTable& table);

 private:
  using Hash = std::array<std::uint64_t, 2>;
  struct First {
    std::size_t operator()(const Hash& hash) const { return static_cast<std::size_t>(hash[0]); }
  };
  std::unordered_set<Hash, First> seen_;
  std::vector<std::byte> row_;
};

}  // namespace muster
