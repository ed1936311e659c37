#include "trainer/runlog/proto_message.h"

#include <bit>

namespace muster {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the wire format's fixed numbers are little-endian");

constexpr std::uint32_t kVarint = 0;
constexpr std::uint32_t kFixed64 = 1;
constexpr std::uint32_t kLengthDelimited = 2;
constexpr std::uint32_t kFixed32 = 5;

template <typename T>
std::string_view raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

}  // namespace

void ProtoMessage::varint(std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
  bytes_ += static_cast<char>(value);
}

void ProtoMessage::key(std::uint32_t field, std::uint32_t wire_type) {
  varint(std::uint64_t{field} << 3 | wire_type);
}

ProtoMessage& ProtoMessage::integer(std::uint32_t field, std::uint64_t value) {
  key(field, kVarint);
  varint(value);
  return *this;
}

ProtoMessage& ProtoMessage::number(std::uint32_t field, double value) {
  key(field, kFixed64);
  bytes_ += raw(value);
  return *this;
}

ProtoMessage& ProtoMessage::single(std::uint32_t field, float value) {
  key(field, kFixed32);
  bytes_ += raw(value);
  return *this;
}

ProtoMessage& ProtoMessage::text(std::uint32_t field, std::string_view bytes) {
  key(field, kLengthDelimited);
  varint(bytes.size());
  bytes_ += bytes;
  return *this;
}

ProtoMessage& ProtoMessage::message(std::uint32_t field, const ProtoMessage& inner) {
  return text(field, inner.bytes());
}

ProtoMessage& ProtoMessage::numbers(std::uint32_t field, std::span<const double> values) {
  return text(field, {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
}

}  // namespace muster
