#pragma once
// The header of an IDX file (the format of MNIST and its kin; http://yann.lecun.com/exdb/mnist, section "The
// IDX file format"): two zero bytes, a type, the number of dimensions, then each dimension as a big-endian
// 32-bit number.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data_loader/contract/dtype.h"

namespace muster {

struct IdxHeader {
  DType dtype = DType::kUInt8;
  std::uint64_t rows = 0;            ///< the first dimension
  std::vector<std::uint64_t> shape;  ///< the others, each at least 1

  /// Bytes of the header itself: the data follow, big-endian.
  std::size_t bytes() const { return 4 + 4 * (1 + shape.size()); }
  /// At most 1 GiB.
  std::uint64_t bytes_per_row() const;

  /// The most bytes a header has; fewer dimensions need fewer.
  static constexpr std::size_t kMostBytes = 4 + 4 * 8;
};

/// Reads a header from the first bytes of a file (up to kMostBytes of them, all if the file is shorter).
/// Error{kData} with `where` = `file` says what is wrong at which offset.
IdxHeader parse_idx_header(std::span<const std::byte> head, const std::string& file);

}  // namespace muster
