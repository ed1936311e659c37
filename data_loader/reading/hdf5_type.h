#pragma once
// Internal to data_loader: HDF5's types and ours.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data_loader/contract/dtype.h"
#include "data_loader/reading/hdf5_handle.h"

namespace muster::hdf5 {

/// How values come out of the library.
enum class Reading {
  kConverted,  ///< the library makes the little-endian type of them
  kBits,       ///< bit fields: as the unsigned integer of their size
  kStored,     ///< bytes as they are in the file: opaque ones, and times
};

/// What a dataset's element, or a member of it, is to a contract.
struct TypeInfo {
  std::optional<DType> dtype;  ///< nothing if it is no number or text; an enum counts as the integer it is
                               ///< made of, others as the smallest type of ours that holds them
  std::string name;            ///< for messages
  bool boolean = false;        ///< the enum {FALSE = 0, TRUE = 1} that h5py writes: fits int8 and uint8
  std::size_t text_bytes = 0;  ///< of a text: its fixed size, or 0 for variable length
  std::vector<std::uint64_t> extents;  ///< of an array type, and of opaque bytes: shape of one element
  Reading reading = Reading::kConverted;
  bool swapped = false;  ///< of kStored: big-endian
};

/// One column of a dataset: its element, or a member of compound elements.
struct Column {
  std::vector<std::string> member;  ///< names from the outside in; empty: the whole element
  TypeInfo type;
};

/// The columns of an element of this type: one, unless it is compound. A compound of more than 4,096 members
/// or nested more than 16 deep is one column that is no number.
std::vector<Column> describe_columns(hid_t type);

/// A type in memory that takes just this column out of elements of `type`: `leaf` makes the innermost one of
/// the stored one.
Handle column_type(hid_t type, std::span<const std::string> member, const std::function<Handle(hid_t)>& leaf);

/// The type in memory that a column of numbers is read as.
Handle number_type(hid_t stored, const TypeInfo& info);

/// The little-endian type of a number, in memory and in the files we write. The library's own: never closed.
hid_t little_endian(DType type);

/// A text of that many bytes, padded with zero bytes, with a character set of HDF5.
Handle text_type(std::size_t bytes, H5T_cset_t characters);

/// "deflate", "lzf", … by the registered number; "filter 4711" for others.
std::string filter_name(H5Z_filter_t filter);

}  // namespace muster::hdf5
