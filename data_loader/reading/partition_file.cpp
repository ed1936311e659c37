#include "data_loader/reading/partition_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "core/text.h"
#include "data_loader/reading/hdf5_dataset.h"
#include "data_loader/reading/hdf5_handle.h"
#include "data_loader/reading/hdf5_reference.h"
#include "data_loader/reading/hdf5_signature.h"

namespace muster {
namespace {

/// Of rows that are read for a try: the most bytes of one, and about how many at once.
constexpr std::uint64_t kMostTriedBytes = std::uint64_t{64} << 20;
constexpr std::uint64_t kTriedAtOnce = std::uint64_t{8} << 20;

herr_t note_dataset(hid_t, const char* name, const H5O_info_t* info, void* names) {
  if (info->type != H5O_TYPE_DATASET) return 0;
  try {
    static_cast<std::vector<std::string>*>(names)->emplace_back(name);
  } catch (...) {
    return -1;  // an exception must not pass through the library's frames
  }
  return 0;
}

struct Link {
  std::string name;
  bool external = false;
};

herr_t note_link(hid_t, const char* name, const H5L_info_t* info, void* links) {
  if (info->type != H5L_TYPE_SOFT && info->type != H5L_TYPE_EXTERNAL) return 0;
  try {
    static_cast<std::vector<Link>*>(links)->push_back({name, info->type == H5L_TYPE_EXTERNAL});
  } catch (...) {
    return -1;
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

DatasetLayout layout_of(const hdf5::Dataset& dataset, const hdf5::Column& column) {
  DatasetLayout layout;
  layout.path = dataset.path();
  layout.member = column.member;
  layout.dtype = column.type.dtype;
  layout.type_name = column.type.name;
  layout.text_bytes = column.type.text_bytes;
  layout.single = dataset.shape().empty();
  layout.shape.assign(dataset.shape().begin(), dataset.shape().end());
  layout.shape.insert(layout.shape.end(), column.type.extents.begin(), column.type.extents.end());
  layout.chunk.assign(dataset.chunk().begin(), dataset.chunk().end());
  for (const H5Z_filter_t filter : dataset.filters()) layout.filters.push_back(hdf5::filter_name(filter));
  layout.refusal = dataset.refusal();
  return layout;
}

}  // namespace

std::string DatasetLayout::location() const { return member.empty() ? path : path + "." + join(member, "."); }

struct PartitionFile::State {
  std::filesystem::path path;
  hdf5::Handle file;
  std::uint64_t size = 0;  ///< of the file when it was opened
  std::map<std::string, hdf5::Dataset> datasets;

  ~State() {
    const hdf5::Lock lock;
    datasets.clear();
    file.reset();
  }

  std::string where(const std::string& dataset) const { return fmt::format("{}:{}", path.string(), dataset); }

  void open() {
    const hdf5::Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    const bool fine = H5Pset_fapl_sec2(access.get()) >= 0 &&
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
      hdf5::fail_reading("cannot list the datasets (damaged?)", path.string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  /// What is reached by links only: datasets of other files, and links that lead nowhere.
  std::vector<DatasetLayout> links() {
    std::vector<Link> found;
    if (H5Lvisit(file.get(), H5_INDEX_NAME, H5_ITER_NATIVE, note_link, &found) < 0)
      hdf5::fail_reading("cannot list the links (damaged?)", path.string());
    std::vector<DatasetLayout> layouts;
    for (const Link& link : found) {
      const Result<std::vector<DatasetLayout>> led = attempt([&] { return follow(link); });
      if (led.ok()) {
        layouts.insert(layouts.end(), led.value().begin(), led.value().end());
        continue;
      }
      DatasetLayout nowhere;
      nowhere.path = link.name;
      nowhere.type_name = "link";
      nowhere.refusal = led.error().message();
      layouts.push_back(std::move(nowhere));
    }
    return layouts;
  }

  std::vector<DatasetLayout> follow(const Link& link) {
    std::string reason;
    const hdf5::Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
    hdf5::confine_references(access.get(), reason);
    hdf5::Handle object(H5Oopen(file.get(), link.name.c_str(), access.get()), H5Oclose);
    if (!object.valid() && !reason.empty()) fail(ErrorCode::kData, "{}", reason);
    if (!object.valid())
      fail(ErrorCode::kData, "is a link that leads nowhere: {}", hdf5::last_failure().message);
    if (!link.external || H5Iget_type(object.get()) != H5I_DATASET) return {};  // listed where it is
    object.reset();  // opened again with other properties
    const hdf5::Dataset dataset(file.get(), path, link.name);
    std::vector<DatasetLayout> layouts;
    for (const hdf5::Column& column : dataset.columns()) layouts.push_back(layout_of(dataset, column));
    return layouts;
  }

  /// Whether the path leads to something; Error{kData} where an external link on it must not be followed.
  bool leads_somewhere(const std::string& name) {
    std::string reason;
    const hdf5::Handle access(H5Pcreate(H5P_LINK_ACCESS), H5Pclose);
    hdf5::confine_references(access.get(), reason);
    const bool there = H5Oexists_by_name(file.get(), name.c_str(), access.get()) > 0;
    if (!there && !reason.empty()) throw Error(ErrorCode::kData, reason, where(name));
    return there;
  }

  hdf5::Dataset& find(const std::string& name) {
    const auto known = datasets.find(name);
    if (known != datasets.end()) return known->second;
    if (!leads_somewhere(name)) {
      const std::vector<std::string> names = dataset_names();
      throw Error(ErrorCode::kData,
                  fmt::format("there is no dataset '{}'{}; the file has: {}", name, did_you_mean(name, names),
                              names.empty() ? "none" : join(names, ", ")),
                  path.string());
    }
    return datasets.emplace(name, hdf5::Dataset(file.get(), path, name)).first->second;
  }

  const hdf5::Column& column(const hdf5::Dataset& dataset, const Field& field) {
    if (const hdf5::Column* found = dataset.find(field.member)) return *found;
    std::vector<std::string> names;
    for (const hdf5::Column& c : dataset.columns()) names.push_back(join(c.member, "."));
    const bool compound = !dataset.columns().front().member.empty();
    const std::string wanted = join(field.member, ".");
    if (!compound)
      throw Error(ErrorCode::kData,
                  fmt::format("is {}, the contract says that it is compound with a member '{}'",
                              dataset.columns().front().type.name, wanted),
                  where(field.path));
    throw Error(ErrorCode::kData,
                wanted.empty() ? fmt::format("is compound: `member` says which one of {}", join(names, ", "))
                               : fmt::format("has no member '{}'{}; it has: {}", wanted,
                                             did_you_mean(wanted, names), join(names, ", ")),
                where(field.path));
  }

  hdf5::Dataset& check(const Field& field) {
    hdf5::Dataset& dataset = find(field.path);
    const std::string at = where(field.location());
    const hdf5::TypeInfo& type = column(dataset, field).type;
    if (type.dtype != field.dtype && !(type.boolean && field.dtype == DType::kUInt8)) {
      throw Error(ErrorCode::kData,
                  fmt::format("is {}, the contract says {}", type.name, to_string(field.dtype)), at);
    }
    if (field.is_text() && type.text_bytes > field.length) {
      throw Error(ErrorCode::kData,
                  fmt::format("is a {}, the contract says at most {}", type.name, field.length), at);
    }
    if (dataset.shape().empty()) {
      throw Error(ErrorCode::kData,
                  dataset.is_null()
                      ? "has no values at all"
                      : "has no rows: it is a single value, the contract wants a row per sample",
                  at);
    }
    std::vector<std::uint64_t> shape(dataset.shape().begin() + 1, dataset.shape().end());
    shape.insert(shape.end(), type.extents.begin(), type.extents.end());
    const std::vector<std::uint64_t> expected = field.stored().shape;
    if (shape != expected) {
      throw Error(ErrorCode::kData,
                  fmt::format("has {}, the contract says {}{}", shape_text(shape), shape_text(expected),
                              field.window ? ": a stream of tokens, of which `window` makes rows" : ""),
                  at);
    }
    if (!dataset.refusal().empty()) throw Error(ErrorCode::kData, dataset.refusal(), at);
    return dataset;
  }

  void read(const Field& field, hsize_t first, hsize_t rows, std::span<std::byte> out) {
    hdf5::Dataset& dataset = check(field);
    const std::uint64_t all = rows_of(field, dataset.shape()[0]);
    ensure(first <= all && rows <= all - first && out.size() == rows * field.bytes_per_row(),
           "reading rows {} + {} of {} into {} bytes", first, rows, all, out.size());
    if (out.empty()) return;
    if (field.window) {
      // The tokens go to the end of `out`, where there is room for them: windows take no fewer.
      const std::uint64_t tokens = field.window->span(rows);
      dataset.read(field, first * field.window->stride, tokens, out.last(tokens * size_of(field.dtype)));
      field.window->spread(out, rows, size_of(field.dtype));
    } else {
      dataset.read(field, first, rows, out);
    }
    check_size(fmt::format("{}[{}..{}]", where(field.location()), first, first + rows - 1));
  }

  void check_size(const std::string& at) {
    const std::uint64_t now = current_size();
    if (now >= size) return;
    throw Error(ErrorCode::kData,
                fmt::format("the file shrank from {} to {} bytes while it was open", size, now), at);
  }

  void try_rows(const std::string& name, bool all) {
    hdf5::Dataset& dataset = find(name);
    if (!dataset.refusal().empty()) return;
    const hsize_t rows = dataset.shape().empty() ? 1 : dataset.shape()[0];
    const std::uint64_t row_bytes = dataset.stored_row_bytes();
    if (row_bytes > kMostTriedBytes || rows == 0) return;
    hsize_t piece = all ? std::max<std::uint64_t>(1, kTriedAtOnce / row_bytes) : 1;
    if (all && !dataset.chunk().empty()) piece = (piece / dataset.chunk()[0] + 1) * dataset.chunk()[0];
    for (hsize_t first = 0; first < rows; first += piece) {
      if (!all && first > 0) first = rows - 1;
      dataset.try_rows(first, std::min(piece, rows - first));
    }
    check_size(where(name));
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
    const hdf5::Dataset dataset(state_->file.get(), state_->path, name);
    for (const hdf5::Column& column : dataset.columns()) layouts.push_back(layout_of(dataset, column));
  }
  const std::vector<DatasetLayout> linked = state_->links();
  layouts.insert(layouts.end(), linked.begin(), linked.end());
  return layouts;
}

DatasetLayout PartitionFile::layout(const std::string& path, const std::vector<std::string>& member) {
  const hdf5::Lock lock;
  Field field;
  field.path = path;
  field.member = member;
  const hdf5::Dataset& dataset = state_->find(path);
  return layout_of(dataset, state_->column(dataset, field));
}

std::uint64_t PartitionFile::check_field(const Field& field) {
  const hdf5::Lock lock;
  return rows_of(field, state_->check(field).shape()[0]);
}

std::uint64_t PartitionFile::cache_bytes() const {
  const hdf5::Lock lock;
  const auto caching =
      std::ranges::count_if(state_->datasets, [](const auto& d) { return d.second.caches_chunks(); });
  return static_cast<std::uint64_t>(caching) * hdf5::Dataset::kChunkCache;
}

void PartitionFile::try_rows(const std::string& dataset, bool all) {
  const hdf5::Lock lock;
  state_->try_rows(dataset, all);
}

void PartitionFile::read_rows(const Field& field, std::uint64_t first_row, std::uint64_t rows,
                              std::span<std::byte> out) {
  const hdf5::Lock lock;
  state_->read(field, first_row, rows, out);
}

}  // namespace muster
