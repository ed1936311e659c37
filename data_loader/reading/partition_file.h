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

#include "data_loader/contract/contract.h"
#include "data_loader/contract/dtype.h"

namespace muster {

/// What a file says about one HDF5 dataset, or one member of a compound one.
struct DatasetLayout {
  std::string path;
  std::vector<std::string> member;   ///< names from the outside in; empty unless the dataset is compound
  std::optional<DType> dtype;        ///< what a field of it must have; nothing if it is no number or text
  std::string type_name;             ///< for messages: "string", "reference", "big-endian float32", …
  std::uint64_t text_bytes = 0;      ///< of a text of fixed size; 0: variable
  bool single = false;               ///< one value, no rows
  std::vector<std::uint64_t> shape;  ///< of array types the extents of an element come last
  std::vector<std::uint64_t> chunk;  ///< empty if contiguous; without an element's extents
  std::vector<std::string> filters;  ///< "deflate", "shuffle", …
  std::string refusal;               ///< why its rows cannot be read here, or "": a filter that is missing,
                                     ///< another file that is missing or outside the folder, a dead link

  /// "table", of a member "table.mass".
  std::string location() const;
};

/// An open partition, read-only. Thread-safe, one call at a time. Files that it refers to (external storage,
/// virtual datasets, external links) are read too, if they lie in its folder or below.
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
  /// All datasets in the file, sorted by path, one entry for each member of compound ones; then what links
  /// lead to in other files, and links that lead nowhere.
  std::vector<DatasetLayout> layouts();
  /// Of one dataset, or a member of it. Error{kData} if it is not there.
  DatasetLayout layout(const std::string& path, const std::vector<std::string>& member);
  /// Checks that the field is there with the contract's type and shape; returns its number of rows (whole
  /// windows, where rows are windows). Throws Error{kData} naming file:dataset, what was expected and what
  /// was found.
  std::uint64_t check_field(const Field& field);
  /// Rows [first_row, first_row + rows), which the field must have, as little-endian values of the contract's
  /// dtype. Checks the field first. Throws Error{kData}, or Error{kStorage} if the system cannot read, with
  /// `where` = "file:dataset[first..last]" (of windows: the tokens).
  void read_rows(const Field& field, std::uint64_t first_row, std::uint64_t rows, std::span<std::byte> out);
  /// Reads the first and the last row of a dataset of any type, or all of them, to see whether it can be
  /// read: Error as read_rows. Nothing is done with one that has a refusal, or rows of more than 64 MiB.
  void try_rows(const std::string& dataset, bool all);
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
