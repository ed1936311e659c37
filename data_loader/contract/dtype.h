#pragma once
// The element types a field can have in a partition.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace muster {

enum class DType : std::uint8_t {
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUInt8,
  kUInt16,
  kUInt32,
  kUInt64,
  kFloat32,
  kFloat64,
  kString,  ///< UTF-8 text of at most a contract's `length` bytes, padded with zero bytes
};

/// "int8" … "float64", "string", as contracts spell them.
std::string_view to_string(DType type);
/// Throws Error{kConfig} that lists the known names.
DType parse_dtype(std::string_view name);
/// Of one number; texts have a length of their own (Field::value_bytes).
std::size_t size_of(DType type);
constexpr bool is_float(DType type) { return type == DType::kFloat32 || type == DType::kFloat64; }

[[noreturn]] void refuse_text();  ///< Error{kBug}: numbers were expected

/// Calls `body` with a null pointer of the number's C++ type: `visit(type, [&]<typename T>(T*) { … })`. Not
/// for texts.
template <typename Body>
decltype(auto) visit(DType type, Body&& body) {
  switch (type) {
    case DType::kInt8:
      return body(static_cast<std::int8_t*>(nullptr));
    case DType::kInt16:
      return body(static_cast<std::int16_t*>(nullptr));
    case DType::kInt32:
      return body(static_cast<std::int32_t*>(nullptr));
    case DType::kInt64:
      return body(static_cast<std::int64_t*>(nullptr));
    case DType::kUInt8:
      return body(static_cast<std::uint8_t*>(nullptr));
    case DType::kUInt16:
      return body(static_cast<std::uint16_t*>(nullptr));
    case DType::kUInt32:
      return body(static_cast<std::uint32_t*>(nullptr));
    case DType::kUInt64:
      return body(static_cast<std::uint64_t*>(nullptr));
    case DType::kFloat32:
      return body(static_cast<float*>(nullptr));
    case DType::kFloat64:
      return body(static_cast<double*>(nullptr));
    case DType::kString:
      break;
  }
  refuse_text();
}

}  // namespace muster
