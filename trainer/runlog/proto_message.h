#pragma once
// The wire format of Protocol Buffers, written field by field (protobuf.dev/programming-guides/encoding).

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace muster {

/// One message. Fields may be added in any order; one added twice is a repeated field. Numbers from 1 to
/// 2^29 - 1. What a field means is the caller's business: the format does not say.
class ProtoMessage {
 public:
  ProtoMessage& integer(std::uint32_t field, std::uint64_t value);  ///< int64, uint64, bool, enum
  ProtoMessage& number(std::uint32_t field, double value);          ///< double
  ProtoMessage& single(std::uint32_t field, float value);           ///< float
  ProtoMessage& text(std::uint32_t field, std::string_view bytes);  ///< bytes, or a string: then UTF-8
  ProtoMessage& message(std::uint32_t field, const ProtoMessage& inner);
  ProtoMessage& numbers(std::uint32_t field, std::span<const double> values);  ///< repeated double, packed

  const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value);
  void key(std::uint32_t field, std::uint32_t wire_type);

  std::string bytes_;
};

}  // namespace muster
