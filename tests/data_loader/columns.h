#pragma once
// Columns of a dataset in memory, for tests of what makes datasets.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data_loader/contract/contract.h"
#include "data_loader/reading/partition_file.h"
#include "tests/data_loader/error_of.h"

namespace muster::testing {

using Columns = std::map<std::string, std::vector<std::byte>>;

/// Partitions of a dataset directory, in name order.
inline std::vector<std::filesystem::path> partitions(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() == ".h5") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// All rows of all partitions as they are stored, per field, in order.
inline Columns read_columns(const std::filesystem::path& directory) {
  const Contract contract = Contract::load(directory / "contract.yaml");
  Columns columns;
  for (const std::filesystem::path& path : partitions(directory)) {
    PartitionFile file(path);
    for (const Field& field : contract.stored_fields()) {
      const std::uint64_t rows = file.check_field(field);
      std::vector<std::byte> values(rows * field.bytes_per_row());
      file.read_rows(field, 0, rows, values);
      std::vector<std::byte>& column = columns[field.name];
      column.insert(column.end(), values.begin(), values.end());
    }
  }
  return columns;
}

inline std::vector<std::uint64_t> rows_of_partitions(const std::filesystem::path& directory) {
  const Contract contract = Contract::load(directory / "contract.yaml");
  std::vector<std::uint64_t> rows;
  for (const std::filesystem::path& path : partitions(directory)) {
    rows.push_back(PartitionFile(path).check_field(contract.stored_fields().front()));
  }
  return rows;
}

/// A column as doubles.
inline std::vector<double> numbers(DType dtype, const std::vector<std::byte>& column) {
  return visit(dtype, [&]<typename T>(T*) {
    std::vector<T> values(column.size() / sizeof(T));
    std::memcpy(values.data(), column.data(), values.size() * sizeof(T));
    return std::vector<double>(values.begin(), values.end());
  });
}

}  // namespace muster::testing
