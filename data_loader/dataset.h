#pragma once
// A validated dataset directory: contract.yaml, manifest.json, rows.bin (row index), index.bin (sidecar).

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data_loader/block_reader.h"
#include "data_loader/checked_block_reader.h"
#include "data_loader/contract.h"
#include "data_loader/manifest.h"
#include "data_loader/row_index.h"

namespace muster {

class Dataset {
 public:
  /// Opens a validated dataset; `root` relocates the partitions ("" = the directory itself). Checks the
  /// manifest, the row index's hash, the contract's hash, and each partition's stamp. Error{kData} or
  /// Error{kConfig} says what changed and that `muster validate` mends it; a directory never validated says
  /// so too.
  static Dataset open(const std::filesystem::path& directory, const std::filesystem::path& root = {});

  const std::filesystem::path& directory() const { return directory_; }
  const std::filesystem::path& root() const { return root_; }
  const Contract& contract() const { return contract_; }
  const Manifest& manifest() const { return manifest_; }
  const RowIndex& row_index() const { return *row_index_; }
  /// Checks what it reads of `unvouched` partitions against their block hashes.
  std::unique_ptr<BlockReader> make_reader() const;
  /// Numbers of partitions whose files have another time than when they were validated, with their hashes.
  const BlockHashes& unvouched() const { return unvouched_; }
  /// One line for people about the unvouched partitions; "" if there are none.
  std::string warning() const;

 private:
  std::filesystem::path directory_;
  std::filesystem::path root_;
  Contract contract_;
  Manifest manifest_;
  std::shared_ptr<const RowIndex> row_index_;
  BlockHashes unvouched_;
};

}  // namespace muster
