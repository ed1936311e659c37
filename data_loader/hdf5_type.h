#pragma once
// Internal to data_loader: HDF5's types and filters in Muster's words.

#include <optional>
#include <string>

#include "data_loader/dtype.h"
#include "data_loader/hdf5_handle.h"

namespace muster::hdf5 {

/// What an HDF5 type is. Endianness is no difference: reading converts it.
struct TypeInfo {
  std::optional<DType>
      dtype;             ///< nothing if it is no number or text; an enum counts as the integer it is made of
  std::string name;      ///< for messages
  bool boolean = false;  ///< the enum {FALSE = 0, TRUE = 1} that h5py writes: fits int8 and uint8
  std::size_t text_bytes = 0;  ///< of a text: its fixed size, or 0 for variable length
};
TypeInfo describe_type(hid_t type);

/// The little-endian type of a number, in memory and in the files we write. The library's own: never closed.
hid_t little_endian(DType type);

/// A text of that many bytes, padded with zero bytes, with a character set of HDF5.
Handle text_type(std::size_t bytes, H5T_cset_t characters);

/// "deflate", "lzf", … by the registered number; "filter 4711" for others.
std::string filter_name(H5Z_filter_t filter);

}  // namespace muster::hdf5
