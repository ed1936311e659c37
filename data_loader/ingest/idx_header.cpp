#include "data_loader/ingest/idx_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/error.h"

namespace muster {
namespace {

constexpr std::size_t kMostDimensions = 8;
constexpr std::uint64_t kMostRowBytes = std::uint64_t{1} << 30;

std::optional<DType> type_of(std::uint8_t code) {
  switch (code) {
    case 0x08:
      return DType::kUInt8;
    case 0x09:
      return DType::kInt8;
    case 0x0B:
      return DType::kInt16;
    case 0x0C:
      return DType::kInt32;
    case 0x0D:
      return DType::kFloat32;
    case 0x0E:
      return DType::kFloat64;
    default:
      return std::nullopt;
  }
}

/// What bytes that are no IDX header look like, for people.
std::string describe(std::span<const std::byte> head) {
  const auto is_text = [](std::byte value) {
    const auto c = std::to_integer<unsigned>(value);
    return (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\r' || c == '\t';
  };
  if (std::all_of(head.begin(), head.end(), is_text)) {
    return "it is text (an error page or a git-lfs pointer in the data's place?): fetch it again";
  }
  return "it starts with other bytes than two zeros";
}

}  // namespace

std::uint64_t IdxHeader::bytes_per_row() const {
  std::uint64_t bytes = size_of(dtype);
  for (const std::uint64_t extent : shape) bytes *= extent;
  return bytes;
}

IdxHeader parse_idx_header(std::span<const std::byte> head, const std::string& file) {
  const auto refuse = [&](const std::string& message) { throw Error(ErrorCode::kData, message, file); };
  const auto byte = [&](std::size_t at) { return std::to_integer<std::uint8_t>(head[at]); };
  if (head.size() < 4) {
    refuse(fmt::format("ends at offset {}, within the 4 bytes that an IDX file starts with", head.size()));
  }
  if (byte(0) != 0 || byte(1) != 0) refuse(fmt::format("is no IDX file: {}", describe(head)));
  const std::optional<DType> type = type_of(byte(2));
  if (!type) {
    refuse(fmt::format("has the type 0x{:02x} at offset 2; IDX knows 0x08, 0x09, 0x0b, 0x0c, 0x0d and 0x0e",
                       byte(2)));
  }
  const std::size_t dimensions = byte(3);
  if (dimensions == 0 || dimensions > kMostDimensions) {
    refuse(
        fmt::format("has {} dimensions at offset 3; between 1 and {} are read", dimensions, kMostDimensions));
  }
  IdxHeader header;
  header.dtype = *type;
  std::uint64_t row_bytes = size_of(*type);
  for (std::size_t i = 0; i < dimensions; ++i) {
    const std::size_t at = 4 + 4 * i;
    if (at + 4 > head.size()) {
      refuse(
          fmt::format("ends at offset {}, within its header of {} bytes", head.size(), 4 + 4 * dimensions));
    }
    std::uint64_t extent = 0;
    for (std::size_t b = 0; b < 4; ++b) extent = extent << 8 | byte(at + b);
    if (i == 0) {
      header.rows = extent;
      continue;
    }
    if (extent == 0)
      refuse(fmt::format("has a dimension of 0 at offset {}: its rows would hold nothing", at));
    if (extent > kMostRowBytes / row_bytes)
      refuse(fmt::format("has rows of more than 1 GiB (offset {})", at));
    row_bytes *= extent;
    header.shape.push_back(extent);
  }
  return header;
}

}  // namespace muster
