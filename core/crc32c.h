#pragma once
// CRC-32C (Castagnoli), the checksum of TensorFlow's records, iSCSI and ext4.

#include <cstdint>
#include <string_view>

namespace muster {

/// As RFC 3720, B.4 defines it: reflected polynomial 0x82f63b78, start and final xor 0xffffffff.
std::uint32_t crc32c(std::string_view bytes);

}  // namespace muster
