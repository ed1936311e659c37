#include "data_loader/manifest/byte_io.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace muster {

namespace {

constexpr std::size_t kTrailer = 32;

Sha256 to_hash(std::span<const std::byte> bytes) {
  Sha256 hash;
  std::transform(bytes.begin(), bytes.end(), hash.bytes.begin(),
                 [](std::byte b) { return std::to_integer<std::uint8_t>(b); });
  return hash;
}

}  // namespace

ByteWriter::ByteWriter(std::string_view magic, std::uint32_t version) {
  ensure(magic.size() == 8, "the magic '{}' has not eight characters", magic);
  for (const char c : magic) u8(static_cast<std::uint8_t>(c));
  u32(version);
}

void ByteWriter::fixed(std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) u8(static_cast<std::uint8_t>(value >> (8 * i)));
}

void ByteWriter::varint(std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) u8(static_cast<std::uint8_t>(value | 0x80));
  u8(static_cast<std::uint8_t>(value));
}

void ByteWriter::text(std::string_view value) {
  u32(static_cast<std::uint32_t>(value.size()));
  for (const char c : value) u8(static_cast<std::uint8_t>(c));
}

void ByteWriter::hash(const Sha256& value) {
  for (const std::uint8_t byte : value.bytes) u8(byte);
}

std::vector<std::byte> ByteWriter::finish() && {
  hash(sha256(bytes_));
  return std::move(bytes_);
}

ByteReader::ByteReader(std::span<const std::byte> bytes, std::string_view magic, std::uint32_t version,
                       std::string where)
    : body_(bytes), where_(std::move(where)) {
  const auto same = [](std::byte byte, char c) { return std::to_integer<char>(byte) == c; };
  if (bytes.size() < magic.size() || !std::equal(magic.begin(), magic.end(), bytes.begin(),
                                                 [&](char c, std::byte b) { return same(b, c); })) {
    damaged(fmt::format("it does not start with {}", magic));
  }
  if (bytes.size() < magic.size() + 4 + kTrailer) damaged("it is truncated");
  take(magic.size());
  const std::uint32_t found = u32();
  if (found != version) {
    throw Error(ErrorCode::kStorage,
                fmt::format("has format version {}, this program reads {}", found, version), where_);
  }
  if (sha256(bytes.first(bytes.size() - kTrailer)) != to_hash(bytes.last(kTrailer))) {
    damaged("its SHA-256 does not match its content");
  }
  body_ = body_.first(body_.size() - kTrailer);
}

std::span<const std::byte> ByteReader::take(std::size_t count) {
  if (count > body_.size()) damaged("it ends too early");
  const auto taken = body_.first(count);
  body_ = body_.subspan(count);
  return taken;
}

std::uint8_t ByteReader::u8() { return std::to_integer<std::uint8_t>(take(1)[0]); }

std::uint64_t ByteReader::fixed(int bytes) {
  std::uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= std::uint64_t{u8()} << (8 * i);
  return value;
}

std::uint64_t ByteReader::varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const std::uint8_t byte = u8();
    if (shift == 63 && byte > 1) break;
    value |= std::uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) return value;
  }
  damaged("a number is longer than 64 bits");
}

std::string ByteReader::text() {
  const auto bytes = take(u32());
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Sha256 ByteReader::hash() { return to_hash(take(kTrailer)); }

void ByteReader::finish() const {
  if (!body_.empty()) damaged(fmt::format("{} bytes are left over", body_.size()));
}

void ByteReader::damaged(const std::string& how) const {
  throw Error(ErrorCode::kStorage, fmt::format("is damaged: {}", how), where_);
}

}  // namespace muster
