#include "data_loader/hdf5_type.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace muster::hdf5 {
namespace {

std::optional<DType> integer_type(std::size_t size, bool is_signed) {
  switch (size) {
    case 1:
      return is_signed ? DType::kInt8 : DType::kUInt8;
    case 2:
      return is_signed ? DType::kInt16 : DType::kUInt16;
    case 4:
      return is_signed ? DType::kInt32 : DType::kUInt32;
    case 8:
      return is_signed ? DType::kInt64 : DType::kUInt64;
    default:
      return std::nullopt;
  }
}

std::optional<DType> float_type(hid_t type) {
  if (H5Tequal(type, H5T_IEEE_F32LE) > 0 || H5Tequal(type, H5T_IEEE_F32BE) > 0) return DType::kFloat32;
  if (H5Tequal(type, H5T_IEEE_F64LE) > 0 || H5Tequal(type, H5T_IEEE_F64BE) > 0) return DType::kFloat64;
  return std::nullopt;
}

std::string order_prefix(hid_t type) {
  return H5Tget_size(type) > 1 && H5Tget_order(type) == H5T_ORDER_BE ? "big-endian " : "";
}

TypeInfo describe_integer(hid_t type) {
  const std::size_t size = H5Tget_size(type);
  const bool is_signed = H5Tget_sign(type) != H5T_SGN_NONE;
  const std::string name = fmt::format("{}{}int{}", order_prefix(type), is_signed ? "" : "u", size * 8);
  return {integer_type(size, is_signed), name, false};
}

bool has_member(hid_t type, const char* name, signed char expected) {
  signed char value = -1;
  return H5Tenum_valueof(type, name, &value) >= 0 && value == expected;
}

TypeInfo describe_enum(hid_t type) {
  const Handle base(H5Tget_super(type), H5Tclose);
  const TypeInfo integer = describe_integer(base.get());
  if (integer.dtype == DType::kInt8 && H5Tget_nmembers(type) == 2 && has_member(type, "FALSE", 0) &&
      has_member(type, "TRUE", 1)) {
    return {integer.dtype, "bool", true};
  }
  return {integer.dtype, "enum of " + integer.name, false};
}

}  // namespace

TypeInfo describe_type(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return describe_integer(type);
    case H5T_FLOAT:
      return {float_type(type), fmt::format("{}float{}", order_prefix(type), H5Tget_size(type) * 8), false};
    case H5T_ENUM:
      return describe_enum(type);
    case H5T_STRING:
      if (H5Tis_variable_str(type) > 0) return {DType::kString, "variable-length string", false, 0};
      return {DType::kString, fmt::format("string of {} bytes", H5Tget_size(type)), false, H5Tget_size(type)};
    case H5T_COMPOUND:
      return {{}, "compound", false};
    case H5T_ARRAY:
      return {{}, "array", false};
    case H5T_VLEN:
      return {{}, "variable-length sequence", false};
    case H5T_REFERENCE:
      return {{}, "reference", false};
    case H5T_OPAQUE:
      return {{}, "opaque", false};
    case H5T_BITFIELD:
      return {{}, "bitfield", false};
    case H5T_TIME:
      return {{}, "time", false};
    default:
      return {{}, "unknown", false};
  }
}

hid_t little_endian(DType type) {
  switch (type) {
    case DType::kInt8:
      return H5T_STD_I8LE;
    case DType::kInt16:
      return H5T_STD_I16LE;
    case DType::kInt32:
      return H5T_STD_I32LE;
    case DType::kInt64:
      return H5T_STD_I64LE;
    case DType::kUInt8:
      return H5T_STD_U8LE;
    case DType::kUInt16:
      return H5T_STD_U16LE;
    case DType::kUInt32:
      return H5T_STD_U32LE;
    case DType::kUInt64:
      return H5T_STD_U64LE;
    case DType::kFloat32:
      return H5T_IEEE_F32LE;
    case DType::kFloat64:
      return H5T_IEEE_F64LE;
    case DType::kString:
      break;
  }
  refuse_text();
}

Handle text_type(std::size_t bytes, H5T_cset_t characters) {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), bytes);
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  H5Tset_cset(type.get(), characters);
  return type;
}

std::string filter_name(H5Z_filter_t filter) {
  // https://github.com/HDFGroup/hdf5_plugins/blob/master/docs/RegisteredFilterPlugins.md
  constexpr std::array<std::pair<H5Z_filter_t, const char*>, 15> kNames{{{1, "deflate"},
                                                                         {2, "shuffle"},
                                                                         {3, "fletcher32"},
                                                                         {4, "szip"},
                                                                         {5, "nbit"},
                                                                         {6, "scaleoffset"},
                                                                         {305, "lzo"},
                                                                         {307, "bzip2"},
                                                                         {32000, "lzf"},
                                                                         {32001, "blosc"},
                                                                         {32004, "lz4"},
                                                                         {32008, "bitshuffle"},
                                                                         {32013, "zfp"},
                                                                         {32015, "zstd"},
                                                                         {32026, "blosc2"}}};
  for (const auto& [number, name] : kNames) {
    if (number == filter) return name;
  }
  return fmt::format("filter {}", filter);
}

}  // namespace muster::hdf5
