#pragma once
// Records of a CSV file to rows of columns.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data_loader/contract/text_encoding.h"
#include "data_loader/ingest/csv_cell.h"
#include "data_loader/ingest/csv_fields.h"
#include "data_loader/ingest/csv_table.h"

namespace muster {

/// Why a row is wrong.
struct RowFault {
  std::string cause;  ///< the same for faults of one kind
  std::string message;
};

/// One thread.
class CsvRowParser {
 public:
  /// Keeps a reference to the table.
  explicit CsvRowParser(const CsvTable& table);

  /// Puts the record's values at `row` of `columns`, which have the room: one per field of the table. Returns
  /// what is wrong, if anything is.
  std::optional<RowFault> parse(std::string_view record, std::span<std::vector<std::byte>> columns,
                                std::uint64_t row);

 private:
  struct Target {
    CellParser parser;
    std::size_t column;
    std::size_t value_bytes;
    bool convert;  ///< a text of the file's own encoding
    const std::string* name;
  };
  std::optional<RowFault> parse_cell(const Target& target, std::string_view cell, std::span<std::byte> out);

  std::size_t width_;
  CsvFields fields_;
  std::vector<Target> targets_;
  std::optional<TextEncoding> encoding_;
};

}  // namespace muster
