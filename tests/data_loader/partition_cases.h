#pragma once
// Partitions for tests: fields, random rows, and the errors that reading them makes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/random.h"
#include "data_loader/reading/partition_file.h"
#include "tests/data_loader/error_of.h"

namespace muster::testing {

inline Field make_field(std::string path, DType dtype, std::vector<std::uint64_t> shape = {}) {
  Field field;
  field.name = path.substr(path.rfind('/') + 1);
  field.path = std::move(path);
  field.dtype = dtype;
  field.shape = std::move(shape);
  return field;
}

inline std::vector<std::byte> random_bytes(RandomStream& random, std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
  return bytes;
}

/// Writes `rows` random rows in appends of those sizes (repeated) and returns the columns.
inline std::vector<std::vector<std::byte>> write_random(const std::filesystem::path& path,
                                                        const std::vector<Field>& fields, std::uint64_t rows,
                                                        std::uint32_t block_rows, Codec codec,
                                                        const std::vector<std::uint64_t>& appends,
                                                        std::uint64_t seed = 7) {
  RandomStream random(seed);
  std::vector<std::vector<std::byte>> columns;
  for (const Field& field : fields) columns.push_back(random_bytes(random, rows * field.bytes_per_row()));
  PartitionWriter writer(path, fields, block_rows, codec);
  std::uint64_t done = 0;
  for (std::size_t i = 0; done < rows; ++i) {
    const std::uint64_t take = std::min(appends[i % appends.size()], rows - done);
    std::vector<std::span<const std::byte>> parts;
    for (std::size_t f = 0; f < fields.size(); ++f) {
      const std::uint64_t row = fields[f].bytes_per_row();
      parts.emplace_back(std::span(columns[f]).subspan(done * row, take * row));
    }
    writer.append(parts, take);
    done += take;
  }
  writer.close();
  return columns;
}

inline std::vector<std::byte> read_all(PartitionFile& file, const Field& field, std::uint64_t first,
                                       std::uint64_t rows) {
  std::vector<std::byte> out(rows * field.bytes_per_row());
  file.read_rows(field, first, rows, out);
  return out;
}

#define EXPECT_SAYS(error, text) \
  EXPECT_NE(std::string((error).what()).find(text), std::string::npos) << "it says: " << (error).what()

}  // namespace muster::testing
