#pragma once
// A split's rows in dataset order, some at a time: which they are, and some of their columns.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "data_loader/contract/batch.h"
#include "data_loader/manifest/row_index.h"
#include "data_loader/reading/block_reader.h"

namespace muster {

/// Memory: the columns of one block, and of the rows given. Used by one thread; what is given lives until the
/// next call. `reader`, `contract` and `index` outlive it.
class SplitRows {
 public:
  /// `fields`: numbers in `contract`.
  SplitRows(BlockReader& reader, const Contract& contract, const RowIndex& index, std::uint8_t split,
            std::vector<std::size_t> fields);

  /// Goes on by `rows` rows, which there must be. Throws as the reader.
  void next(std::uint64_t rows);
  const std::vector<RowId>& ids() const { return ids_; }
  /// Of those rows: bytes_per_row() of the i-th field each.
  std::span<const std::byte> column(std::size_t i) const { return columns_[i]; }

 private:
  void open_block();

  BlockReader& reader_;
  const Contract& contract_;
  const RowIndex& index_;
  std::uint8_t split_;
  std::vector<std::size_t> fields_;
  std::uint32_t next_block_ = 0;
  std::vector<std::uint32_t> rows_;  ///< of the open block
  std::size_t done_ = 0;             ///< of these
  std::vector<std::vector<std::byte>> block_columns_;
  std::vector<RowId> ids_;
  std::vector<std::vector<std::byte>> columns_;
};

}  // namespace muster
