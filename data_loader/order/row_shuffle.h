#pragma once
// Shuffles more rows than fit in memory: each row goes to a random bucket on disk, then each bucket is
// shuffled in memory. Every order of the rows is equally likely.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/random.h"

namespace muster {

/// Holds a bucket and a small buffer per bucket: about 190 MiB for up to 32 GiB of rows, 1/256 of them
/// beyond. Its files are gone when it is.
class RowShuffle {
 public:
  /// `directory` is for the buckets alone: emptied first, removed in the end. `rows` of `row_bytes` each will
  /// come.
  RowShuffle(std::filesystem::path directory, std::uint64_t rows, std::uint64_t row_bytes, std::uint64_t seed,
             std::uint64_t bucket_bytes = std::uint64_t{128} << 20);
  ~RowShuffle();
  RowShuffle(const RowShuffle&) = delete;
  RowShuffle& operator=(const RowShuffle&) = delete;

  void add(std::span<const std::byte> row);
  /// Gives all rows, a bucket at a time, in their new order. Once.
  void drain(const std::function<void(std::span<const std::byte> rows, std::uint64_t count)>& take);

 private:
  struct Bucket {
    std::filesystem::path file;
    std::vector<std::byte> buffer;
  };
  void flush(Bucket& bucket);

  std::filesystem::path directory_;
  std::uint64_t row_bytes_;
  std::uint64_t seed_;
  RandomStream stream_;
  std::vector<Bucket> buckets_;
};

}  // namespace muster
