#pragma once
// Internal to data_loader: one open HDF5 dataset, what never changes about it, and its rows. Everything here
// is called while an hdf5::Lock is held.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data_loader/contract/contract.h"
#include "data_loader/reading/hdf5_handle.h"
#include "data_loader/reading/hdf5_type.h"

namespace muster::hdf5 {

class Dataset {
 public:
  /// Most bytes of decoded chunks kept, and only once reads do not end at chunks' ends.
  static constexpr std::uint64_t kChunkCache = std::uint64_t{1} << 20;

  /// Error{kData} that names file:path. `file` is where the open `id` came from.
  Dataset(hid_t id, std::filesystem::path file, std::string path);

  const std::string& path() const { return path_; }
  const std::vector<hsize_t>& shape() const { return shape_; }
  bool is_null() const { return space_ == H5S_NULL; }
  const std::vector<hsize_t>& chunk() const { return chunk_; }
  const std::vector<H5Z_filter_t>& filters() const { return filters_; }
  const std::vector<Column>& columns() const { return columns_; }
  /// The column of that member, or nullptr.
  const Column* find(std::span<const std::string> member) const;
  /// Why rows cannot be read here, or "": a filter that is missing, another file that is.
  const std::string& refusal() const { return refusal_; }
  bool caches_chunks() const { return caches_chunks_; }

  /// Rows of a field, which check_field has found good, as it is stored.
  void read(const Field& field, hsize_t first, hsize_t rows, std::span<std::byte> out);
  /// Reads rows of any type and throws them away (of a single value: that); Error{kData} if they cannot be
  /// read.
  void try_rows(hsize_t first, hsize_t rows);
  /// Bytes of a row as the file has it, at least 1; the largest number if that overflows.
  std::uint64_t stored_row_bytes() const;

 private:
  struct Selection;
  Handle open(bool caches_chunks);
  void describe();
  std::string where() const;
  void cache_for(hsize_t first, hsize_t rows);
  Selection select(hsize_t first, hsize_t rows) const;
  void read_numbers(const Column& column, const Selection& selection, const std::string& at,
                    std::span<std::byte> out);
  void read_texts(const Field& field, const Column& column, const Selection& selection, const std::string& at,
                  std::span<std::byte> out);
  void read_variable_texts(const Field& field, const Column& column, const Selection& selection,
                           hsize_t first, std::span<std::byte> out);

  hid_t file_id_;
  std::filesystem::path file_;
  std::string path_;
  Handle dataset_;
  Handle type_;
  std::vector<Column> columns_;
  H5S_class_t space_ = H5S_NO_CLASS;
  std::vector<hsize_t> shape_;
  std::vector<hsize_t> chunk_;
  std::vector<H5Z_filter_t> filters_;
  std::string refusal_;
  bool caches_chunks_ = false;
};

/// Throws what the library's last failed call says: Error{kStorage} where the system failed, else kData.
[[noreturn]] void fail_reading(const std::string& message, const std::string& where);

}  // namespace muster::hdf5
