// Any bytes: an IDX header whose sizes are sane, or an Error that names the file.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "core/error.h"
#include "data_loader/ingest/idx_header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto header = muster::parse_idx_header(std::as_bytes(std::span(data, size)), "input.idx");
    if (header.bytes() > size || header.bytes() > muster::IdxHeader::kMostBytes) std::abort();
    if (header.rows > 0xffffffffU || header.bytes_per_row() == 0) std::abort();
    if (header.bytes_per_row() > (std::uint64_t{1} << 30)) std::abort();
  } catch (const muster::Error& error) {
    if (error.code() != muster::ErrorCode::kData || error.where() != "input.idx") std::abort();
  }
  return 0;
}
