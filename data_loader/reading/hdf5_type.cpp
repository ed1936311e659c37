#include "data_loader/reading/hdf5_type.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"

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

/// Of the library's floats: the smallest of ours that holds every value; beyond 64 bits values are rounded.
DType float_type(hid_t type) {
  std::size_t sign = 0, exponent_at = 0, exponent = 0, mantissa_at = 0, mantissa = 0;
  H5Tget_fields(type, &sign, &exponent_at, &exponent, &mantissa_at, &mantissa);
  return exponent <= 8 && mantissa <= 23 ? DType::kFloat32 : DType::kFloat64;
}

std::string order_prefix(hid_t type) {
  return H5Tget_size(type) > 1 && H5Tget_order(type) == H5T_ORDER_BE ? "big-endian " : "";
}

/// Bytes of the smallest integer of ours that holds one of this many bits; more than 8: none does.
std::size_t holding_bytes(std::size_t bits) {
  std::size_t bytes = 1;
  while (bytes * 8 < bits) bytes *= 2;
  return bytes;
}

TypeInfo describe_integer(hid_t type) {
  const std::size_t size = H5Tget_size(type);
  const bool is_signed = H5Tget_sign(type) != H5T_SGN_NONE;
  const bool usual = size == holding_bytes(size * 8);
  TypeInfo info;
  info.dtype = integer_type(usual ? size : holding_bytes(H5Tget_precision(type)), is_signed);
  info.name = fmt::format("{}{}int{}", order_prefix(type), is_signed ? "" : "u", size * 8);
  return info;
}

bool has_member(hid_t type, const char* name, signed char expected) {
  signed char value = -1;
  return H5Tenum_valueof(type, name, &value) >= 0 && value == expected;
}

TypeInfo describe_enum(hid_t type) {
  const Handle base(H5Tget_super(type), H5Tclose);
  TypeInfo info = describe_integer(base.get());
  info.boolean = info.dtype == DType::kInt8 && H5Tget_nmembers(type) == 2 && has_member(type, "FALSE", 0) &&
                 has_member(type, "TRUE", 1);
  info.name = info.boolean ? "bool" : "enum of " + info.name;
  return info;
}

TypeInfo describe_text(hid_t type) {
  TypeInfo info;
  info.dtype = DType::kString;
  const bool variable = H5Tis_variable_str(type) > 0;
  info.text_bytes = variable ? 0 : H5Tget_size(type);
  info.name = variable ? "variable-length string" : fmt::format("string of {} bytes", info.text_bytes);
  return info;
}

/// What the library converts to nothing: its bytes are its value.
TypeInfo describe_stored(hid_t type, const char* name, bool is_signed) {
  TypeInfo info;
  const std::size_t size = H5Tget_size(type);
  info.dtype = integer_type(size, is_signed);
  info.name = fmt::format("{}{} of {} bytes", order_prefix(type), name, size);
  info.reading = Reading::kStored;
  info.swapped = H5Tget_order(type) == H5T_ORDER_BE;
  return info;
}

TypeInfo describe_bits(hid_t type) {
  TypeInfo info = describe_stored(type, "bit field", false);
  info.reading = Reading::kBits;
  return info;
}

TypeInfo describe_opaque(hid_t type) {
  TypeInfo info;
  info.dtype = DType::kUInt8;
  info.extents = {H5Tget_size(type)};
  info.name = fmt::format("opaque of {} bytes", info.extents.front());
  info.reading = Reading::kStored;
  return info;
}

TypeInfo no_number(std::string name) {
  TypeInfo info;
  info.name = std::move(name);
  return info;
}

TypeInfo describe_plain(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return describe_integer(type);
    case H5T_FLOAT: {
      TypeInfo info;
      info.dtype = float_type(type);
      info.name = fmt::format("{}float{}", order_prefix(type), H5Tget_size(type) * 8);
      return info;
    }
    case H5T_ENUM:
      return describe_enum(type);
    case H5T_STRING:
      return describe_text(type);
    case H5T_BITFIELD:
      return describe_bits(type);
    case H5T_OPAQUE:
      return describe_opaque(type);
    case H5T_TIME:
      return describe_stored(type, "time", true);
    case H5T_VLEN:
      return no_number("variable-length sequence");
    case H5T_REFERENCE:
      return no_number("reference");
    default:
      return no_number("unknown");
  }
}

constexpr std::size_t kMostMembers = 4096;
constexpr std::size_t kMostDepth = 16;

/// Gathers the columns of a type, members inside members too.
class Columns {
 public:
  /// False where there are too many.
  bool add(hid_t type, const std::vector<std::string>& member, const std::vector<std::uint64_t>& extents) {
    if (columns_.size() >= kMostMembers || member.size() > kMostDepth || extents.size() > 31) return false;
    const H5T_class_t kind = H5Tget_class(type);
    if (kind == H5T_COMPOUND) return add_members(type, member, extents);
    if (kind == H5T_ARRAY) {
      std::vector<hsize_t> dimensions(static_cast<std::size_t>(std::max(0, H5Tget_array_ndims(type))));
      H5Tget_array_dims2(type, dimensions.data());
      std::vector<std::uint64_t> all = extents;
      all.insert(all.end(), dimensions.begin(), dimensions.end());
      return add(Handle(H5Tget_super(type), H5Tclose).get(), member, all);
    }
    TypeInfo info = describe_plain(type);
    info.extents.insert(info.extents.begin(), extents.begin(), extents.end());
    columns_.push_back({member, std::move(info)});
    return true;
  }
  std::vector<Column> take() { return std::move(columns_); }

 private:
  bool add_members(hid_t type, const std::vector<std::string>& member,
                   const std::vector<std::uint64_t>& extents) {
    for (int i = 0; i < H5Tget_nmembers(type); ++i) {
      char* const name = H5Tget_member_name(type, static_cast<unsigned>(i));
      std::vector<std::string> inner = member;
      inner.emplace_back(name == nullptr ? "" : name);
      H5free_memory(name);
      const Handle held(H5Tget_member_type(type, static_cast<unsigned>(i)), H5Tclose);
      if (!add(held.get(), inner, extents)) return false;
    }
    return true;
  }

  std::vector<Column> columns_;
};

}  // namespace

std::vector<Column> describe_columns(hid_t type) {
  Columns columns;
  if (!columns.add(type, {}, {})) return {{{}, no_number("compound of too many members")}};
  return columns.take();
}

Handle column_type(hid_t type, std::span<const std::string> member,
                   const std::function<Handle(hid_t)>& leaf) {
  const H5T_class_t kind = H5Tget_class(type);
  if (kind == H5T_COMPOUND) {
    ensure(!member.empty(), "a column of a compound without the member's name");
    const int index = H5Tget_member_index(type, member.front().c_str());
    const Handle held(H5Tget_member_type(type, static_cast<unsigned>(index)), H5Tclose);
    const Handle inner = column_type(held.get(), member.subspan(1), leaf);
    Handle outer(H5Tcreate(H5T_COMPOUND, H5Tget_size(inner.get())), H5Tclose);
    H5Tinsert(outer.get(), member.front().c_str(), 0, inner.get());
    return outer;
  }
  if (kind == H5T_ARRAY) {
    std::vector<hsize_t> dimensions(static_cast<std::size_t>(std::max(0, H5Tget_array_ndims(type))));
    H5Tget_array_dims2(type, dimensions.data());
    const Handle element(H5Tget_super(type), H5Tclose);
    const Handle inner = column_type(element.get(), member, leaf);
    return {H5Tarray_create2(inner.get(), static_cast<unsigned>(dimensions.size()), dimensions.data()),
            H5Tclose};
  }
  return leaf(type);
}

Handle number_type(hid_t stored, const TypeInfo& info) {
  if (info.reading == Reading::kStored) return {H5Tcopy(stored), H5Tclose};
  if (info.reading == Reading::kConverted) return {H5Tcopy(little_endian(*info.dtype)), H5Tclose};
  switch (size_of(*info.dtype)) {
    case 1:
      return {H5Tcopy(H5T_STD_B8LE), H5Tclose};
    case 2:
      return {H5Tcopy(H5T_STD_B16LE), H5Tclose};
    case 4:
      return {H5Tcopy(H5T_STD_B32LE), H5Tclose};
    default:
      return {H5Tcopy(H5T_STD_B64LE), H5Tclose};
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
