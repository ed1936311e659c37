#pragma once
// A validated dataset directory: contract.yaml, manifest.json, rows.bin (row index), index.bin (sidecar).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "data_loader/contract/contract.h"
#include "data_loader/manifest/index_sidecar.h"
#include "data_loader/manifest/manifest.h"
#include "data_loader/manifest/row_index.h"
#include "data_loader/reading/block_reader.h"

namespace muster {

class BlockHashes;

/// Puts something between a reader and who uses it: what a drill slows down.
using ReaderWrapper = std::function<std::unique_ptr<BlockReader>(std::unique_ptr<BlockReader>)>;

class Dataset {
 public:
  /// What is done with partitions that are gone, or are not what was validated.
  enum class Damaged {
    kRefuse,
    kTolerate  ///< `damage` lists them; reading from them fails
  };

  /// Opens a validated dataset; `root` relocates the partitions ("" = the directory itself). Checks the
  /// manifest, the row index's hash, the contract's hash, and each partition's stamp. Error{kData} or
  /// Error{kConfig} says what changed and that `muster validate` mends it; a directory never validated says
  /// so too.
  static Dataset open(const std::filesystem::path& directory, const std::filesystem::path& root = {},
                      Damaged damaged = Damaged::kRefuse);

  const std::filesystem::path& directory() const { return directory_; }
  const std::filesystem::path& root() const { return root_; }
  const Contract& contract() const { return contract_; }
  const Manifest& manifest() const { return manifest_; }
  const RowIndex& row_index() const { return *row_index_; }
  /// Checks what it reads of files that have another size or time than when they were validated, now or
  /// later, against their block hashes. Outlives the dataset.
  std::unique_ptr<BlockReader> make_reader() const;
  /// All readers made from here on go through `wrap`.
  void wrap_readers(ReaderWrapper wrap) { wrap_reader_ = std::move(wrap); }
  /// Partitions whose files have another time than when they were validated.
  const std::vector<std::uint32_t>& unvouched() const { return unvouched_; }
  /// A partition that was tolerated, and why it would have been refused.
  struct Damage {
    std::uint32_t partition;
    Error error;
  };
  const std::vector<Damage>& damage() const { return damage_; }
  /// From now on readers refuse a damaged partition without opening it.
  void give_up(std::uint32_t partition);
  /// One line for people about the unvouched partitions; "" if there are none.
  std::string warning() const;

 private:
  std::filesystem::path directory_;
  std::filesystem::path root_;
  Contract contract_;
  Manifest manifest_;
  std::shared_ptr<const RowIndex> row_index_;
  std::vector<PartitionStamp> stamps_;
  std::vector<std::uint32_t> unvouched_;
  std::vector<Damage> damage_;
  std::map<std::uint32_t, Error> unreadable_;
  ReaderWrapper wrap_reader_;
  std::shared_ptr<BlockHashes> hashes_;  ///< shared with the readers
};

}  // namespace muster
