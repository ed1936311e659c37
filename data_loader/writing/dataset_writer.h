#pragma once
// Writes a new dataset directory front to back: rows dealt evenly to partitions, contract.yaml last.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data_loader/contract/contract.h"
#include "data_loader/reading/partition_file.h"

namespace muster {

/// Error{kUsage} if `directory` holds (parts of) a dataset: contract.yaml, manifest.json or an HDF5 file.
void refuse_existing_dataset(const std::filesystem::path& directory);

/// Whether this is a partition of an append that is under way, or was when it was killed.
bool is_unpublished(std::string_view name);

/// Makes part-00000.h5 … of a dataset whose number of rows is known. The first partitions have one row more
/// where the rows do not divide. Nothing is a dataset before `finish`: contract.yaml comes last. Where there
/// are partitions already the new ones have hidden names until then.
class DatasetWriter {
 public:
  struct Plan {
    std::filesystem::path out;     ///< created; must hold no dataset
    std::string contract_yaml;     ///< written as it is, comments and all
    Contract contract;             ///< what it says
    std::uint64_t rows = 0;        ///< as they are stored: tokens, where the contract's rows are windows
    std::uint32_t partitions = 1;  ///< at most 100,000
    std::vector<std::uint64_t> partition_rows;  ///< of each; empty: dealt evenly
    std::uint32_t first = 0;                    ///< the partitions that this writer makes: [first, last)
    std::uint32_t last = std::numeric_limits<std::uint32_t>::max();  ///< beyond all: to the last one
    Codec codec = Codec::kNone;
    std::uint32_t existing_partitions = 0;  ///< the first one made gets this number
    std::uint32_t block_rows = 0;           ///< of the existing ones; 0: chosen
  };
  explicit DatasetWriter(Plan plan);
  /// Without `finish`, removes the partitions it made: a failed run leaves nothing that looks like data.
  ~DatasetWriter();
  DatasetWriter(const DatasetWriter&) = delete;
  DatasetWriter& operator=(const DatasetWriter&) = delete;

  /// Appends rows: columns[i] holds rows × bytes_per_row bytes of the contract's field i, as it is stored.
  void append(std::span<const std::span<const std::byte>> columns, std::uint64_t rows);
  /// After all of its rows: its partitions are whole, though no dataset yet.
  void close();
  /// Once all writers have closed, by one of them: publishes all partitions and a new dataset's
  /// contract.yaml. `record` is called before it, or, where partitions were added, last.
  void publish(const std::function<void()>& record = {});
  /// What was written stays, as it is published.
  void release() { finished_ = true; }
  /// All three, for one writer.
  void finish(const std::function<void()>& record = {});
  /// File names of all partitions that are made.
  std::vector<std::string> partition_names() const;

  /// A good number of rows to append at once: about 1 MiB of them.
  std::uint64_t rows_at_once() const;

 private:
  void open_next();
  std::filesystem::path path_of(std::uint32_t partition) const;
  std::filesystem::path written_path_of(std::uint32_t partition) const;
  std::uint64_t rows_of(std::uint32_t partition) const;

  Plan plan_;
  std::vector<Field> fields_;  ///< as they are stored
  std::uint32_t block_rows_ = 0;
  std::uint32_t opened_ = 0;     ///< partitions opened so far, and those before its first
  std::uint64_t rows_left_ = 0;  ///< of the open partition
  std::uint64_t rows_written_ = 0;
  bool finished_ = false;
  std::optional<PartitionWriter> writer_;
};

}  // namespace muster
