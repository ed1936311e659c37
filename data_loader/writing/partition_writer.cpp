#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>

#include "core/file_system.h"
#include "core/text.h"
#include "data_loader/reading/hdf5_handle.h"
#include "data_loader/reading/hdf5_type.h"
#include "data_loader/reading/partition_file.h"

namespace muster {
namespace {

constexpr unsigned kDeflateLevel = 4;

/// One field's dataset in the file, and the rows of it that fill no whole block yet.
struct Column {
  Field field;
  std::vector<std::byte> pending;  ///< room for one block
  hdf5::Handle type;
  hdf5::Handle dataset;
};

/// Chunks of whole rows with our filters; nothing in it depends on when or by whom the file is written.
hdf5::Handle dataset_properties(const Field& field, std::uint32_t block_rows, Codec codec) {
  hdf5::Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  std::vector<hsize_t> chunk{block_rows};
  chunk.insert(chunk.end(), field.shape.begin(), field.shape.end());
  bool fine = H5Pset_chunk(properties.get(), static_cast<int>(chunk.size()), chunk.data()) >= 0 &&
              H5Pset_obj_track_times(properties.get(), false) >= 0 &&
              H5Pset_fill_time(properties.get(), H5D_FILL_TIME_ALLOC) >= 0;  // the last chunk's rest: zeros
  if (codec == Codec::kGzip) {
    if (!field.is_text() && size_of(field.dtype) > 1) fine = fine && H5Pset_shuffle(properties.get()) >= 0;
    fine = fine && H5Pset_deflate(properties.get(), kDeflateLevel) >= 0;
  }
  ensure(fine, "libhdf5 takes no chunks of {} rows for '{}': {}", block_rows, field.path,
         fine ? "" : hdf5::last_failure().message);
  return properties;
}

void check_fields(const std::vector<Field>& fields, std::uint32_t block_rows, const std::string& where) {
  ensure(block_rows > 0 && !fields.empty(), "a partition needs fields and rows per block");
  for (const Field& field : fields) {
    const std::uint64_t row = field.bytes_per_row();
    ensure(row > 0 && field.shape.size() < H5S_MAX_RANK, "the field '{}' has no room in HDF5", field.name);
    ensure(!field.window, "windows of '{}' are read, not written: see Field::stored", field.name);
    if (row > std::numeric_limits<std::uint32_t>::max() / block_rows) {
      throw Error(
          ErrorCode::kConfig,
          fmt::format(
              "a chunk of {} rows would take {}, and HDF5 allows less than 4 GiB: fewer rows per block",
              block_rows, human_bytes(row * block_rows)),
          where + ":" + field.path);
    }
  }
}

}  // namespace

struct PartitionWriter::State {
  std::filesystem::path path;
  std::filesystem::path temporary;
  std::uint32_t block_rows;
  Codec codec;
  std::uint64_t rows_written = 0;  ///< whole blocks in the file
  std::uint32_t rows_pending = 0;
  bool usable = false;  ///< false once a call has failed, and after close
  hdf5::Handle file;
  std::vector<Column> columns;

  ~State() {
    {
      const hdf5::Lock lock;
      divert();
      release();
    }
    std::error_code nothing_to_remove;
    std::filesystem::remove(temporary, nothing_to_remove);
  }

  [[noreturn]] void fail_storage(const char* action) {
    const hdf5::Failure failure = hdf5::last_failure();
    throw Error(ErrorCode::kStorage, fmt::format("cannot {}: {}", action, failure.message), path.string());
  }

  void create() {
    const hdf5::Lock lock;
    // The 1.8 format: checksummed metadata, and every version of the library since 2008 reads it.
    const hdf5::Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    const hdf5::Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    const bool fine = H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_V18) >= 0 &&
                      H5Pset_fapl_sec2(access.get()) >= 0 &&
                      H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG) >= 0 &&
                      H5Pset_obj_track_times(creation.get(), false) >= 0;
    ensure(fine, "libhdf5 refuses the file's properties");
    file = hdf5::Handle(H5Fcreate(temporary.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose);
    if (!file.valid()) fail_storage("create the partition");
    for (Column& column : columns) create_dataset(column);
    usable = true;
  }

  void create_dataset(Column& column) {
    const std::string& name = column.field.path;
    create_groups(name);
    std::vector<hsize_t> shape{0};
    shape.insert(shape.end(), column.field.shape.begin(), column.field.shape.end());
    std::vector<hsize_t> most = shape;
    most[0] = H5S_UNLIMITED;
    const hdf5::Handle space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), most.data()),
                             H5Sclose);
    const hdf5::Handle properties = dataset_properties(column.field, block_rows, codec);
    const hdf5::Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
    H5Pset_chunk_cache(access.get(), 1, 0, 0);  // whole chunks are written once: nothing to cache
    column.type = column.field.is_text()
                      ? hdf5::text_type(column.field.length, H5T_CSET_UTF8)
                      : hdf5::Handle(H5Tcopy(hdf5::little_endian(column.field.dtype)), H5Tclose);
    column.dataset = hdf5::Handle(H5Dcreate2(file.get(), name.c_str(), column.type.get(), space.get(),
                                             H5P_DEFAULT, properties.get(), access.get()),
                                  H5Dclose);
    if (!column.dataset.valid()) fail_storage(fmt::format("create the dataset '{}'", name).c_str());
    column.pending.resize(block_rows * column.field.bytes_per_row());
  }

  void create_groups(const std::string& name) {
    const hdf5::Handle creation(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
    H5Pset_obj_track_times(creation.get(), false);
    for (std::size_t end = name.find('/', 1); end != std::string::npos; end = name.find('/', end + 1)) {
      const std::string group = name.substr(0, end);
      if (H5Lexists(file.get(), group.c_str(), H5P_DEFAULT) > 0) continue;
      const hdf5::Handle made(H5Gcreate2(file.get(), group.c_str(), H5P_DEFAULT, creation.get(), H5P_DEFAULT),
                              H5Gclose);
      if (!made.valid()) fail_storage(fmt::format("create the group '{}'", group).c_str());
    }
  }

  void write_pending() {
    if (rows_pending == 0) return;
    const hdf5::Lock lock;
    for (Column& column : columns) write_block(column);
    rows_written += rows_pending;
    rows_pending = 0;
  }

  void write_block(Column& column) {
    std::vector<hsize_t> shape{rows_written + rows_pending};
    shape.insert(shape.end(), column.field.shape.begin(), column.field.shape.end());
    std::vector<hsize_t> start(shape.size(), 0);
    std::vector<hsize_t> count = shape;
    start[0] = rows_written;
    count[0] = rows_pending;
    if (H5Dset_extent(column.dataset.get(), shape.data()) < 0) fail_storage("extend the partition");
    const hdf5::Handle target(H5Dget_space(column.dataset.get()), H5Sclose);
    const hdf5::Handle source(H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr),
                              H5Sclose);
    H5Sselect_hyperslab(target.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr);
    if (H5Dwrite(column.dataset.get(), column.type.get(), source.get(), target.get(), H5P_DEFAULT,
                 column.pending.data()) < 0) {
      fail_storage("write the partition");
    }
  }

  void flush_and_close() {
    const hdf5::Lock lock;
    if (H5Fflush(file.get(), H5F_SCOPE_LOCAL) < 0) fail_storage("write the partition");
    // What fails late fails here: a close that fails leaves the library broken.
    const int own = descriptor();
    if (own < 0) fail_storage("reach the partition's file");
    if (::fsync(own) != 0) {
      throw Error(ErrorCode::kStorage, fmt::format("cannot write the partition: {}", std::strerror(errno)),
                  path.string());
    }
    if (!release()) fail_storage("close the partition");
  }

  int descriptor() const {
    void* own = nullptr;
    return H5Fget_vfd_handle(file.get(), H5P_DEFAULT, &own) < 0 ? -1 : *static_cast<const int*>(own);
  }

  /// For a file given up: what the library still has to flush goes to memory, and nowhere. If the last flush
  /// of a file fails (the disk is full), libhdf5 crashes when the process ends.
  void divert() const {
    if (!file.valid()) return;
    const int memory = ::memfd_create("given-up-partition", MFD_CLOEXEC);
    if (memory < 0) return;
    if (const int own = descriptor(); own >= 0) ::dup3(memory, own, O_CLOEXEC);
    ::close(memory);
  }

  bool release() {
    for (Column& column : columns) {
      column.dataset.reset();
      column.type.reset();
    }
    return file.reset();
  }
};

PartitionWriter::PartitionWriter(std::filesystem::path path, std::vector<Field> fields,
                                 std::uint32_t block_rows, Codec codec)
    : state_(std::make_unique<State>()) {
  check_fields(fields, block_rows, path.string());
  state_->temporary = path.string() + fmt::format(".{}.tmp", ::getpid());
  state_->path = std::move(path);
  state_->block_rows = block_rows;
  state_->codec = codec;
  for (Field& field : fields) {
    Column column;
    column.field = std::move(field);
    state_->columns.push_back(std::move(column));
  }
  state_->create();
}

PartitionWriter::~PartitionWriter() = default;
PartitionWriter::PartitionWriter(PartitionWriter&&) noexcept = default;

void PartitionWriter::append(std::span<const std::span<const std::byte>> columns, std::uint64_t rows) {
  State& state = *state_;
  ensure(std::exchange(state.usable, false), "append to a partition that is closed or failed: {}",
         state.path.string());
  ensure(columns.size() == state.columns.size(), "{} columns for {} fields", columns.size(),
         state.columns.size());
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const Field& field = state.columns[i].field;
    ensure(columns[i].size() == rows * field.bytes_per_row(), "{} bytes for {} rows of '{}'",
           columns[i].size(), rows, field.name);
  }
  for (std::uint64_t done = 0; done < rows;) {
    const std::uint64_t take = std::min<std::uint64_t>(rows - done, state.block_rows - state.rows_pending);
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const std::uint64_t row = state.columns[i].field.bytes_per_row();
      std::memcpy(state.columns[i].pending.data() + state.rows_pending * row, columns[i].data() + done * row,
                  take * row);
    }
    state.rows_pending += static_cast<std::uint32_t>(take);
    done += take;
    if (state.rows_pending == state.block_rows) state.write_pending();
  }
  state.usable = true;
}

void PartitionWriter::close() {
  State& state = *state_;
  ensure(std::exchange(state.usable, false), "close of a partition that is closed or failed: {}",
         state.path.string());
  state.write_pending();
  state.flush_and_close();
  const auto files = make_posix_file_system();
  files->open_append(state.temporary)->sync();
  files->rename(state.temporary, state.path);
  files->sync_directory(state.path.has_parent_path() ? state.path.parent_path() : ".");
}

Codec parse_codec(std::string_view name) {
  if (name == "none") return Codec::kNone;
  if (name == "gzip") return Codec::kGzip;
  const std::vector<std::string> known{"none", "gzip"};
  fail(ErrorCode::kUsage, "there is no codec '{}'{}; known: {}", name, did_you_mean(name, known),
       join(known, ", "));
}

std::uint32_t choose_block_rows(std::uint64_t total_rows, std::uint64_t bytes_per_row,
                                std::uint64_t max_block_bytes) {
  constexpr std::uint64_t kFewest = 16;
  constexpr std::uint64_t kMost = 65536;
  constexpr std::uint64_t kBlocks = 256;
  const std::uint64_t rows =
      std::min(total_rows / kBlocks, max_block_bytes / std::max<std::uint64_t>(bytes_per_row, 1));
  return static_cast<std::uint32_t>(std::bit_floor(std::clamp(rows, kFewest, kMost)));
}

}  // namespace muster
