#pragma once
// Columns to one file, in order, in bounded memory: HDF5 or CSV. It appears under its name only when whole.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/file_system.h"
#include "data_loader/contract/contract.h"

namespace muster {

/// Not thread-safe. Destroyed without `close`, it removes what it wrote. All failures are Error{kStorage}.
class TableWriter {
 public:
  virtual ~TableWriter() = default;
  /// `columns[i]` holds rows × fields[i].bytes_per_row() bytes.
  virtual void append(std::span<const std::span<const std::byte>> columns, std::uint64_t rows) = 0;
  /// Syncs and publishes the file.
  virtual void close() = 0;
};

/// By the file's ending: ".h5" and ".hdf5" (a dataset per field), ".csv" (a column per value, "name.0",
/// "name.1", … of arrays; numbers by their shortest text that reads back to the same bits, a NaN as nothing).
/// Error{kUsage} for another ending. `files` outlives the writer; it holds the CSV.
std::unique_ptr<TableWriter> make_table_writer(FileSystem& files, const std::filesystem::path& path,
                                               const std::vector<Field>& fields);

/// A text as a CSV cell, in quotes where it must be.
std::string csv_cell(std::string_view text);
/// One value of a field: `value` points at value_bytes() of it.
std::string csv_cell(const Field& field, const std::byte* value);
/// "name", or "name.0", "name.1", … of an array.
std::vector<std::string> csv_names(const Field& field);

}  // namespace muster
