#pragma once
// One HDF5 partition: its layout, reading rows of a field, and writing one front to back. libhdf5 is not
// thread-safe as Debian builds it: every call in this file goes through one process-wide mutex inside the
// implementation.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data_loader/contract.h"
#include "data_loader/dtype.h"

namespace muster {

/// What a file says about one HDF5 dataset.
struct DatasetLayout {
  std::string path;
  std::optional<DType>
      dtype;  ///< nothing if it is no plain number or text (compound, …); big-endian types count
  std::string type_name;         ///< for messages: "string", "compound", "big-endian float32", …
  std::uint64_t text_bytes = 0;  ///< of a text of fixed size; 0: variable
  std::vector<std::uint64_t> shape;
  std::vector<std::uint64_t> chunk;  ///< empty if contiguous
  std::vector<std::string> filters;  ///< "deflate", "shuffle", …
  bool has_filters = true;           ///< false if the library here lacks one of them: its rows cannot be read
};

/// An open partition, read-only. Thread-safe, one call at a time. Files that a dataset refers to (external
/// storage, virtual datasets) are read too.
class PartitionFile {
 public:
  /// Throws Error{kData} with the file and what it seems to be instead (HTML page, git-lfs pointer,
  /// truncated, empty), Error{kStorage} if it cannot be read at all. Only for files that somebody vouched
  /// for: see probe.h.
  explicit PartitionFile(std::filesystem::path path);
  ~PartitionFile();
  PartitionFile(PartitionFile&&) noexcept;
  PartitionFile& operator=(PartitionFile&&) noexcept;

  const std::filesystem::path& path() const;
  /// All datasets in the file, sorted by path.
  std::vector<DatasetLayout> layouts();
  /// Checks that the field is there with the contract's type and shape; returns its number of rows (whole
  /// windows, where rows are windows). Throws Error{kData} naming file:dataset, what was expected and what
  /// was found.
  std::uint64_t check_field(const Field& field);
  /// Rows [first_row, first_row + rows), which the field must have, as little-endian values of the contract's
  /// dtype. Checks the field first. Throws Error{kData}, or Error{kStorage} if the system cannot read, with
  /// `where` = "file:dataset[first..last]" (of windows: the tokens).
  void read_rows(const Field& field, std::uint64_t first_row, std::uint64_t rows, std::span<std::byte> out);
  /// Most bytes of decoded chunks that the library may keep for this file: none as long as reads end at
  /// chunks' ends.
  std::uint64_t cache_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

enum class Codec { kNone, kGzip };
/// Error{kUsage} for an unknown name.
Codec parse_codec(std::string_view name);

/// Writes one partition in bounded memory: blocks of rows, all fields, front to back. The file appears under
/// its name only when `close` has succeeded (temporary name, fsync, rename). The same rows make the same
/// bytes, however they are cut into appends. Throws Error{kStorage} that names the file and the cause (disk
/// full, …); after that it only can be destroyed, which removes what was written. Not thread-safe. Writes
/// fields as they are stored: no windows.
class PartitionWriter {
 public:
  /// `block_rows`: rows per HDF5 chunk of every field.
  PartitionWriter(std::filesystem::path path, std::vector<Field> fields, std::uint32_t block_rows,
                  Codec codec);
  ~PartitionWriter();
  PartitionWriter(PartitionWriter&&) noexcept;

  /// Appends rows: `columns[i]` holds rows × fields[i].bytes_per_row() bytes, any number of rows.
  void append(std::span<const std::span<const std::byte>> columns, std::uint64_t rows);
  /// Flushes, syncs and publishes the file. Nothing is published without it.
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Rows per block such that a split of `total_rows` has >= 256 blocks where it has the rows, and a block at
/// most `max_block_bytes`: a power of two in [16, 65536].
std::uint32_t choose_block_rows(std::uint64_t total_rows, std::uint64_t bytes_per_row,
                                std::uint64_t max_block_bytes = 1U << 20);

}  // namespace muster
