#pragma once
// The frame that the binary files of a dataset share: eight characters of magic, a version, a body of
// little-endian numbers, and the SHA-256 of all that as a trailer.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/hash.h"

namespace muster {

/// Builds the bytes of such a file.
class ByteWriter {
 public:
  /// `magic` has eight characters.
  ByteWriter(std::string_view magic, std::uint32_t version);

  void u8(std::uint8_t value) { bytes_.push_back(std::byte{value}); }
  void u32(std::uint32_t value) { fixed(value, 4); }
  void u64(std::uint64_t value) { fixed(value, 8); }
  /// LEB128: seven bits a byte, least first, the high bit set on all bytes but the last.
  void varint(std::uint64_t value);
  /// u32 length, then the bytes.
  void text(std::string_view value);
  void hash(const Sha256& value);
  /// Adds the trailer and gives the bytes away.
  std::vector<std::byte> finish() &&;

 private:
  void fixed(std::uint64_t value, int bytes);
  std::vector<std::byte> bytes_;
};

/// Reads the bytes of such a file; every fault is Error{kStorage} with `where`. `bytes` outlives the reader.
class ByteReader {
 public:
  /// Checks magic, version and trailer before anything else is read.
  ByteReader(std::span<const std::byte> bytes, std::string_view magic, std::uint32_t version,
             std::string where);

  std::uint8_t u8();
  std::uint32_t u32() { return static_cast<std::uint32_t>(fixed(4)); }
  std::uint64_t u64() { return fixed(8); }
  std::uint64_t varint();
  std::string text();
  Sha256 hash();
  /// Bytes not read yet: a bound for counts that the body declares.
  std::size_t left() const { return body_.size(); }
  /// Refuses what is left over.
  void finish() const;
  [[noreturn]] void damaged(const std::string& how) const;

 private:
  std::uint64_t fixed(int bytes);
  std::span<const std::byte> take(std::size_t count);
  std::span<const std::byte> body_;
  std::string where_;
};

}  // namespace muster
