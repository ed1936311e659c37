#include "data_loader/partition_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "core/text.h"
#include "data_loader/hdf5_handle.h"
#include "data_loader/hdf5_signature.h"
#include "data_loader/hdf5_type.h"

namespace muster {
namespace {

/// Most bytes of decoded chunks kept per dataset, and only for reads that do not end at chunks' ends.
constexpr std::uint64_t kChunkCache = std::uint64_t{1} << 20;

/// An open dataset and what never changes about it.
struct OpenDataset {
  hdf5::Handle dataset;
  hdf5::TypeInfo type;
  H5T_cset_t characters = H5T_CSET_ASCII;
  H5S_class_t space = H5S_NO_CLASS;
  std::vector<hsize_t> shape;
  std::vector<hsize_t> chunk;
  std::vector<H5Z_filter_t> filters;
  bool caches_chunks = false;
};

[[noreturn]] void fail_reading(const std::string& message, const std::string& where) {
  const hdf5::Failure failure = hdf5::last_failure();
  throw Error(failure.error_number != 0 ? ErrorCode::kStorage : ErrorCode::kData,
              fmt::format("{}: {}", message, failure.message), where);
}

herr_t note_dataset(hid_t, const char* name, const H5O_info_t* info, void* names) {
  if (info->type != H5O_TYPE_DATASET) return 0;
  try {
    static_cast<std::vector<std::string>*>(names)->emplace_back(name);
  } catch (...) {
    return -1;  // an exception must not pass through the library's frames
  }
  return 0;
}

/// Rows of the field in a dataset that has so many along its first dimension.
std::uint64_t rows_of(const Field& field, hsize_t stored) {
  return field.window ? field.window->rows(stored) : stored;
}

std::string shape_text(std::span<const std::uint64_t> shape) {
  return shape.empty() ? "one number per row" : fmt::format("[{}] per row", fmt::join(shape, ", "));
}

}  // namespace

struct PartitionFile::State {
  std::filesystem::path path;
  hdf5::Handle file;
  std::uint64_t size = 0;  ///< of the file when it was opened
  std::map<std::string, OpenDataset> datasets;

  ~State() {
    const hdf5::Lock lock;
    datasets.clear();
    file.reset();
  }

  std::string where(const std::string& dataset) const { return fmt::format("{}:{}", path.string(), dataset); }

  void open() {
    const hdf5::Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    const bool fine = H5Pset_fapl_sec2(access.get()) >= 0 &&
                      H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG) >= 0 &&
                      H5Pset_file_locking(access.get(), true, true) >= 0;  // where the file system has locks
    ensure(fine, "libhdf5 refuses the file's properties");
    file = hdf5::Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
    if (!file.valid()) fail_opening();
    size = current_size();
  }

  [[noreturn]] void fail_opening() {
    const hdf5::Failure failure = hdf5::last_failure();
    if (failure.error_number == EAGAIN) {
      throw Error(ErrorCode::kData, "is open for writing in another program: wait until it is done",
                  path.string());
    }
    if (failure.message.find("already open for") != std::string::npos) {
      throw Error(ErrorCode::kData,
                  "was left open by a writer, which runs still or crashed: if none runs, check the file and "
                  "clear the mark "
                  "(h5clear -s)",
                  path.string());
    }
    throw Error(failure.error_number != 0 ? ErrorCode::kStorage : ErrorCode::kData,
                fmt::format("{} cannot open it (damaged, or written by a newer HDF5?): {}",
                            hdf5::library_version(), failure.message),
                path.string());
  }

  /// The library reads zeros past a file's end, so a file cut while open must be noticed by its size.
  std::uint64_t current_size() {
    void* descriptor = nullptr;
    struct stat status {};
    if (H5Fget_vfd_handle(file.get(), H5P_DEFAULT, &descriptor) < 0 ||
        ::fstat(*static_cast<const int*>(descriptor), &status) != 0) {
      throw Error(ErrorCode::kStorage, "cannot find the size of the open file", path.string());
    }
    return static_cast<std::uint64_t>(status.st_size);
  }

  std::vector<std::string> dataset_names() {
    std::vector<std::string> names;
    if (H5Ovisit2(file.get(), H5_INDEX_NAME, H5_ITER_NATIVE, note_dataset, &names, H5O_INFO_BASIC) < 0) {
      fail_reading("cannot list the datasets (damaged?)", path.string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  hdf5::Handle open_handle(const std::string& name, bool caches_chunks) {
    const hdf5::Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
    H5Pset_chunk_cache(access.get(), 521, caches_chunks ? kChunkCache : 0, 1.0);
    hdf5::Handle dataset(H5Dopen2(file.get(), name.c_str(), access.get()), H5Dclose);
    if (!dataset.valid())
      fail_reading("cannot open the dataset", where(name));  // before a good call clears the reason
    return dataset;
  }

  OpenDataset describe(const std::string& name) {
    OpenDataset opened;
    opened.dataset = open_handle(name, false);
    const hdf5::Handle type(H5Dget_type(opened.dataset.get()), H5Tclose);
    const hdf5::Handle space(H5Dget_space(opened.dataset.get()), H5Sclose);
    const hdf5::Handle properties(H5Dget_create_plist(opened.dataset.get()), H5Pclose);
    if (!type.valid() || !space.valid() || !properties.valid())
      fail_reading("cannot describe the dataset", where(name));
    opened.type = hdf5::describe_type(type.get());
    if (opened.type.dtype == DType::kString) opened.characters = H5Tget_cset(type.get());
    opened.space = H5Sget_simple_extent_type(space.get());
    opened.shape.resize(static_cast<std::size_t>(std::max(0, H5Sget_simple_extent_ndims(space.get()))));
    H5Sget_simple_extent_dims(space.get(), opened.shape.data(), nullptr);
    if (H5Pget_layout(properties.get()) == H5D_CHUNKED) {
      opened.chunk.resize(opened.shape.size());
      H5Pget_chunk(properties.get(), static_cast<int>(opened.chunk.size()), opened.chunk.data());
    }
    for (int i = 0; i < H5Pget_nfilters(properties.get()); ++i) {
      unsigned flags = 0, config = 0;
      std::size_t values = 0;
      opened.filters.push_back(H5Pget_filter2(properties.get(), static_cast<unsigned>(i), &flags, &values,
                                              nullptr, 0, nullptr, &config));
    }
    return opened;
  }

  OpenDataset& find(const std::string& name) {
    const auto known = datasets.find(name);
    if (known != datasets.end()) return known->second;
    if (H5Oexists_by_name(file.get(), name.c_str(), H5P_DEFAULT) <= 0) {
      const std::vector<std::string> names = dataset_names();
      throw Error(ErrorCode::kData,
                  fmt::format("there is no dataset '{}'{}; the file has: {}", name, did_you_mean(name, names),
                              names.empty() ? "none" : join(names, ", ")),
                  path.string());
    }
    return datasets.emplace(name, describe(name)).first->second;
  }

  OpenDataset& check(const Field& field) {
    OpenDataset& dataset = find(field.path);
    const hdf5::TypeInfo& type = dataset.type;
    if (type.dtype != field.dtype && !(type.boolean && field.dtype == DType::kUInt8)) {
      throw Error(ErrorCode::kData,
                  fmt::format("is {}, the contract says {}", type.name, to_string(field.dtype)),
                  where(field.path));
    }
    if (field.is_text() && type.text_bytes > field.length) {
      throw Error(ErrorCode::kData,
                  fmt::format("is a {}, the contract says at most {}", type.name, field.length),
                  where(field.path));
    }
    if (dataset.shape.empty()) {
      throw Error(ErrorCode::kData, "has no rows: it is a single value, the contract wants a row per sample",
                  where(field.path));
    }
    const std::vector<std::uint64_t> shape(dataset.shape.begin() + 1, dataset.shape.end());
    const std::vector<std::uint64_t> expected = field.stored().shape;
    if (shape != expected) {
      throw Error(ErrorCode::kData,
                  fmt::format("has {}, the contract says {}{}", shape_text(shape), shape_text(expected),
                              field.window ? ": a stream of tokens, of which `window` makes rows" : ""),
                  where(field.path));
    }
    for (const H5Z_filter_t filter : dataset.filters) {
      if (H5Zfilter_avail(filter) > 0) continue;
      throw Error(
          ErrorCode::kData,
          fmt::format(
              "is compressed with {} (HDF5 filter {}), which {} lacks here: put its plugin into a folder "
              "that HDF5_PLUGIN_PATH names, or rewrite the file with gzip",
              hdf5::filter_name(filter), filter, hdf5::library_version()),
          where(field.path));
    }
    return dataset;
  }

  /// Opens the dataset again with a chunk cache if these rows end inside chunks, whose other rows are likely
  /// next.
  void cache_for(OpenDataset& dataset, const std::string& name, hsize_t first, hsize_t rows) {
    if (dataset.caches_chunks || dataset.chunk.empty()) return;
    const hsize_t chunk_rows = dataset.chunk[0];
    const bool whole =
        first % chunk_rows == 0 && (rows % chunk_rows == 0 || first + rows == dataset.shape[0]);
    if (whole) return;
    dataset.dataset.reset();  // while it is open, opening it again would share its cache
    dataset.dataset = open_handle(name, true);
    dataset.caches_chunks = true;
  }

  /// Texts that the library allocates one by one, into their padded places.
  void read_variable_texts(const Field& field, const OpenDataset& dataset, hid_t target, hid_t source,
                           hsize_t first, std::span<std::byte> out) {
    std::vector<char*> texts(out.size() / field.length, nullptr);
    const hdf5::Handle type = hdf5::text_type(H5T_VARIABLE, dataset.characters);
    const bool fine = H5Dread(dataset.dataset.get(), type.get(), target, source, H5P_DEFAULT,
                              static_cast<void*>(texts.data())) >= 0;
    const std::string failure = fine ? "" : hdf5::last_failure().message;
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
    H5Dvlen_reclaim(type.get(), target, H5P_DEFAULT, static_cast<void*>(texts.data()));
    if (!fine)
      throw Error(ErrorCode::kData, "cannot read these rows: " + failure,
                  fmt::format("{}[{}..]", where(field.path), first));
    if (too_long)
      throw Error(ErrorCode::kData,
                  fmt::format("is a text of {} bytes, the contract says at most {}", longest, field.length),
                  fmt::format("{}[{}]", where(field.path), first + *too_long / field.values_per_row()));
  }

  void read(const Field& field, hsize_t first, hsize_t rows, std::span<std::byte> out) {
    OpenDataset& dataset = check(field);
    const std::uint64_t all = rows_of(field, dataset.shape[0]);
    ensure(first <= all && rows <= all - first && out.size() == rows * field.bytes_per_row(),
           "reading rows {} + {} of {} into {} bytes", first, rows, all, out.size());
    if (out.empty()) return;
    if (field.window) {
      // The tokens go to the end of `out`, where there is room for them: windows take no fewer.
      const std::uint64_t tokens = field.window->span(rows);
      read_stored(field, dataset, first * field.window->stride, tokens,
                  out.last(tokens * size_of(field.dtype)));
      field.window->spread(out, rows, size_of(field.dtype));
    } else {
      read_stored(field, dataset, first, rows, out);
    }
  }

  /// Rows as the dataset has them.
  void read_stored(const Field& field, OpenDataset& dataset, hsize_t first, hsize_t rows,
                   std::span<std::byte> out) {
    cache_for(dataset, field.path, first, rows);
    std::vector<hsize_t> start(dataset.shape.size(), 0);
    std::vector<hsize_t> count = dataset.shape;
    start[0] = first;
    count[0] = rows;
    const int rank = static_cast<int>(count.size());
    const hdf5::Handle target(H5Screate_simple(rank, count.data(), nullptr), H5Sclose);
    const hdf5::Handle source(H5Screate_simple(rank, dataset.shape.data(), nullptr), H5Sclose);
    H5Sselect_hyperslab(source.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr);
    const std::string at = fmt::format("{}[{}..{}]", where(field.path), first, first + rows - 1);
    const bool variable = field.is_text() && dataset.type.text_bytes == 0;
    if (variable) {
      read_variable_texts(field, dataset, target.get(), source.get(), first, out);
    } else {
      const hdf5::Handle text =
          field.is_text() ? hdf5::text_type(field.length, dataset.characters) : hdf5::Handle();
      const hid_t type = field.is_text() ? text.get() : hdf5::little_endian(field.dtype);
      if (H5Dread(dataset.dataset.get(), type, target.get(), source.get(), H5P_DEFAULT, out.data()) < 0)
        fail_reading("cannot read these rows", at);
    }
    if (const std::uint64_t now = current_size(); now < size) {
      throw Error(ErrorCode::kData,
                  fmt::format("the file shrank from {} to {} bytes while it was open", size, now), at);
    }
  }
};

PartitionFile::PartitionFile(std::filesystem::path path) : state_(std::make_unique<State>()) {
  hdf5::require_hdf5(path);
  state_->path = std::move(path);
  const hdf5::Lock lock;
  state_->open();
}

PartitionFile::~PartitionFile() = default;
PartitionFile::PartitionFile(PartitionFile&&) noexcept = default;
PartitionFile& PartitionFile::operator=(PartitionFile&&) noexcept = default;

const std::filesystem::path& PartitionFile::path() const { return state_->path; }

std::vector<DatasetLayout> PartitionFile::layouts() {
  const hdf5::Lock lock;
  std::vector<DatasetLayout> layouts;
  for (const std::string& name : state_->dataset_names()) {
    const OpenDataset dataset = state_->describe(name);
    DatasetLayout layout;
    layout.path = name;
    layout.dtype = dataset.type.dtype;
    layout.type_name = dataset.type.name;
    layout.text_bytes = dataset.type.text_bytes;
    layout.shape.assign(dataset.shape.begin(), dataset.shape.end());
    layout.chunk.assign(dataset.chunk.begin(), dataset.chunk.end());
    for (const H5Z_filter_t filter : dataset.filters) {
      layout.filters.push_back(hdf5::filter_name(filter));
      layout.has_filters = layout.has_filters && H5Zfilter_avail(filter) > 0;
    }
    layouts.push_back(std::move(layout));
  }
  return layouts;
}

std::uint64_t PartitionFile::check_field(const Field& field) {
  const hdf5::Lock lock;
  return rows_of(field, state_->check(field).shape[0]);
}

std::uint64_t PartitionFile::cache_bytes() const {
  const hdf5::Lock lock;
  const auto caching =
      std::ranges::count_if(state_->datasets, [](const auto& d) { return d.second.caches_chunks; });
  return static_cast<std::uint64_t>(caching) * kChunkCache;
}

void PartitionFile::read_rows(const Field& field, std::uint64_t first_row, std::uint64_t rows,
                              std::span<std::byte> out) {
  const hdf5::Lock lock;
  state_->read(field, first_row, rows, out);
}

}  // namespace muster
