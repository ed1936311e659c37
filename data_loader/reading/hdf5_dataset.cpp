#include "data_loader/reading/hdf5_dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "core/error.h"
#include "data_loader/reading/hdf5_reference.h"

namespace muster::hdf5 {

struct Dataset::Selection {
  Handle target;  ///< in memory
  Handle source;  ///< in the file
};

void fail_reading(const std::string& message, const std::string& where) {
  const Failure failure = last_failure();
  throw Error(failure.error_number != 0 ? ErrorCode::kStorage : ErrorCode::kData,
              fmt::format("{}: {}", message, failure.message), where);
}

Dataset::Dataset(hid_t id, std::filesystem::path file, std::string path)
    : file_id_(id), file_(std::move(file)), path_(std::move(path)), dataset_(open(false)) {
  describe();
}

std::string Dataset::where() const { return fmt::format("{}:{}", file_.string(), path_); }

Handle Dataset::open(bool caches_chunks) {
  std::string reason;
  const Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  H5Pset_chunk_cache(access.get(), 521, caches_chunks ? kChunkCache : 0, 1.0);
  confine_references(access.get(), reason);
  Handle dataset(H5Dopen2(file_id_, path_.c_str(), access.get()), H5Dclose);
  if (dataset.valid()) return dataset;
  if (!reason.empty()) throw Error(ErrorCode::kData, reason, where());
  fail_reading("cannot open the dataset", where());  // before a good call clears the reason
}

void Dataset::describe() {
  type_ = Handle(H5Dget_type(dataset_.get()), H5Tclose);
  const Handle space(H5Dget_space(dataset_.get()), H5Sclose);
  const Handle properties(H5Dget_create_plist(dataset_.get()), H5Pclose);
  if (!type_.valid() || !space.valid() || !properties.valid())
    fail_reading("cannot describe the dataset", where());
  columns_ = describe_columns(type_.get());
  space_ = H5Sget_simple_extent_type(space.get());
  shape_.resize(static_cast<std::size_t>(std::max(0, H5Sget_simple_extent_ndims(space.get()))));
  H5Sget_simple_extent_dims(space.get(), shape_.data(), nullptr);
  const H5D_layout_t layout = H5Pget_layout(properties.get());
  if (layout == H5D_CHUNKED) {
    chunk_.resize(shape_.size());
    H5Pget_chunk(properties.get(), static_cast<int>(chunk_.size()), chunk_.data());
  }
  for (int i = 0; i < H5Pget_nfilters(properties.get()); ++i) {
    unsigned flags = 0, config = 0;
    std::size_t values = 0;
    filters_.push_back(H5Pget_filter2(properties.get(), static_cast<unsigned>(i), &flags, &values, nullptr, 0,
                                      nullptr, &config));
    if (!refusal_.empty() || H5Zfilter_avail(filters_.back()) > 0) continue;
    refusal_ = fmt::format(
        "is compressed with {} (HDF5 filter {}), which {} lacks here: put its plugin into a folder that "
        "HDF5_PLUGIN_PATH names, or rewrite the file with gzip",
        filter_name(filters_.back()), filters_.back(), library_version());
  }
  std::uint64_t bytes = H5Tget_size(type_.get());
  for (const hsize_t extent : shape_) {
    if (__builtin_mul_overflow(bytes, extent, &bytes)) bytes = std::numeric_limits<std::uint64_t>::max();
  }
  if (refusal_.empty()) refusal_ = refuse_external_storage(properties.get(), bytes, file_);
  if (refusal_.empty() && layout == H5D_VIRTUAL)
    refusal_ = refuse_virtual_members(dataset_.get(), properties.get(), file_);
}

const Column* Dataset::find(std::span<const std::string> member) const {
  const auto found =
      std::ranges::find_if(columns_, [&](const Column& c) { return std::ranges::equal(c.member, member); });
  return found == columns_.end() ? nullptr : &*found;
}

/// Opens the dataset again with a chunk cache if these rows end inside chunks, whose other rows are likely
/// next.
void Dataset::cache_for(hsize_t first, hsize_t rows) {
  if (caches_chunks_ || chunk_.empty()) return;
  const bool whole = first % chunk_[0] == 0 && (rows % chunk_[0] == 0 || first + rows == shape_[0]);
  // Columns of one compound dataset are read one after the other from the same chunks.
  if (whole && columns_.size() == 1) return;
  dataset_.reset();  // while it is open, opening it again would share its cache
  dataset_ = open(true);
  caches_chunks_ = true;
}

Dataset::Selection Dataset::select(hsize_t first, hsize_t rows) const {
  if (shape_.empty())
    return {Handle(H5Screate(H5S_SCALAR), H5Sclose), Handle(H5Screate(H5S_SCALAR), H5Sclose)};
  std::vector<hsize_t> start(shape_.size(), 0);
  std::vector<hsize_t> count = shape_;
  start[0] = first;
  count[0] = rows;
  const int rank = static_cast<int>(count.size());
  Selection selection{Handle(H5Screate_simple(rank, count.data(), nullptr), H5Sclose),
                      Handle(H5Screate_simple(rank, shape_.data(), nullptr), H5Sclose)};
  H5Sselect_hyperslab(selection.source.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr);
  return selection;
}

void Dataset::read(const Field& field, hsize_t first, hsize_t rows, std::span<std::byte> out) {
  const Column* column = find(field.member);
  ensure(column != nullptr, "a column of '{}' that nobody checked", path_);
  cache_for(first, rows);
  const Selection selection = select(first, rows);
  const std::string at = fmt::format("{}[{}..{}]", where(), first, first + rows - 1);
  if (!field.is_text()) return read_numbers(*column, selection, at, out);
  if (column->type.text_bytes > 0) return read_texts(field, *column, selection, at, out);
  read_variable_texts(field, *column, selection, first, out);
}

void Dataset::read_numbers(const Column& column, const Selection& selection, const std::string& at,
                           std::span<std::byte> out) {
  const Handle memory =
      column_type(type_.get(), column.member, [&](hid_t stored) { return number_type(stored, column.type); });
  if (H5Dread(dataset_.get(), memory.get(), selection.target.get(), selection.source.get(), H5P_DEFAULT,
              out.data()) < 0)
    fail_reading("cannot read these rows", at);
  if (!column.type.swapped || column.type.reading != Reading::kStored) return;
  const std::size_t size = size_of(*column.type.dtype);
  for (std::size_t i = 0; i < out.size(); i += size) std::ranges::reverse(out.subspan(i, size));
}

void Dataset::read_texts(const Field& field, const Column& column, const Selection& selection,
                         const std::string& at, std::span<std::byte> out) {
  const Handle memory = column_type(
      type_.get(), column.member, [&](hid_t stored) { return text_type(field.length, H5Tget_cset(stored)); });
  if (H5Dread(dataset_.get(), memory.get(), selection.target.get(), selection.source.get(), H5P_DEFAULT,
              out.data()) < 0)
    fail_reading("cannot read these rows", at);
}

/// Texts that the library allocates one by one, into their padded places.
void Dataset::read_variable_texts(const Field& field, const Column& column, const Selection& selection,
                                  hsize_t first, std::span<std::byte> out) {
  std::vector<char*> texts(out.size() / field.length, nullptr);
  const Handle memory = column_type(
      type_.get(), column.member, [](hid_t stored) { return text_type(H5T_VARIABLE, H5Tget_cset(stored)); });
  const bool fine = H5Dread(dataset_.get(), memory.get(), selection.target.get(), selection.source.get(),
                            H5P_DEFAULT, static_cast<void*>(texts.data())) >= 0;
  const std::string failure = fine ? "" : last_failure().message;
  std::optional<std::size_t> too_long;
  for (std::size_t i = 0; i < texts.size() && fine; ++i) {
    const std::size_t length = texts[i] == nullptr ? 0 : std::strlen(texts[i]);
    if (length > field.length) {
      too_long = i;
      break;
    }
    const auto place = out.subspan(i * field.length, field.length);
    std::fill(place.begin(), place.end(), std::byte{0});
    if (length > 0) std::memcpy(place.data(), texts[i], length);
  }
  const std::size_t longest = too_long ? std::strlen(texts[*too_long]) : 0;
  H5Dvlen_reclaim(memory.get(), selection.target.get(), H5P_DEFAULT, static_cast<void*>(texts.data()));
  if (!fine)
    throw Error(ErrorCode::kData, "cannot read these rows: " + failure,
                fmt::format("{}[{}..]", where(), first));
  if (too_long)
    throw Error(ErrorCode::kData,
                fmt::format("is a text of {} bytes, the contract says at most {}", longest, field.length),
                fmt::format("{}[{}]", where(), first + *too_long));
}

std::uint64_t Dataset::stored_row_bytes() const {
  std::uint64_t bytes = std::max<std::uint64_t>(1, H5Tget_size(type_.get()));
  for (std::size_t i = 1; i < shape_.size(); ++i) {
    if (__builtin_mul_overflow(bytes, std::max<hsize_t>(1, shape_[i]), &bytes))
      return std::numeric_limits<std::uint64_t>::max();
  }
  return bytes;
}

void Dataset::try_rows(hsize_t first, hsize_t rows) {
  if (is_null() || (!shape_.empty() && rows == 0) || std::ranges::count(shape_, hsize_t{0}) > 0) return;
  Handle memory(H5Tget_native_type(type_.get(), H5T_DIR_ASCEND), H5Tclose);
  if (!memory.valid()) memory = Handle(H5Tcopy(type_.get()), H5Tclose);  // what has no type in C: as stored
  const Selection selection = select(first, rows);
  std::uint64_t values = shape_.empty() ? 1 : rows;
  for (std::size_t i = 1; i < shape_.size(); ++i) values *= shape_[i];
  std::vector<std::byte> scratch(values * H5Tget_size(memory.get()));
  const bool fine = H5Dread(dataset_.get(), memory.get(), selection.target.get(), selection.source.get(),
                            H5P_DEFAULT, scratch.data()) >= 0;
  if (!fine)
    fail_reading("cannot read these rows",
                 shape_.empty() ? where() : fmt::format("{}[{}..{}]", where(), first, first + rows - 1));
  H5Dvlen_reclaim(memory.get(), selection.target.get(), H5P_DEFAULT, scratch.data());
}

}  // namespace muster::hdf5
