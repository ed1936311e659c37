#pragma once
// Which rows exist in which split. Decided once by validate; lengths never change afterwards. Format:
// docs/row-index.md.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/hash.h"
#include "data_loader/manifest/manifest.h"

namespace muster {

/// The split of every row, run-length coded. Immutable once built, hence thread-safe.
class RowIndex {
 public:
  /// Row belongs to no split.
  static constexpr std::uint8_t kNone = 255;

  RowIndex(std::vector<std::string> split_names, std::vector<Block> blocks);

  /// Sets the split of each row of the next block (blocks come in order). `split_of_row` has the block's
  /// rows.
  void append_block(std::span<const std::uint8_t> split_of_row);

  const std::vector<std::string>& split_names() const { return split_names_; }
  const std::vector<Block>& blocks() const { return blocks_; }
  /// Number of a split; Error{kConfig} lists the known ones.
  std::uint8_t split(std::string_view name) const;
  /// Rows of a split per block, all blocks.
  std::vector<std::uint32_t> rows_per_block(std::uint8_t split) const;
  std::uint64_t rows(std::uint8_t split) const;
  /// The rows of a block (0-based in the block, ascending) that belong to the split.
  std::vector<std::uint32_t> rows_of(std::uint8_t split, std::uint32_t block) const;

  /// The file's bytes, and back. Throws Error{kStorage} with `where` for damage (the bytes carry their
  /// SHA-256).
  std::vector<std::byte> serialize() const;
  static RowIndex deserialize(std::span<const std::byte> bytes, std::vector<Block> blocks,
                              const std::string& where);
  Sha256 hash() const;

 private:
  struct Run {
    std::uint32_t rows;
    std::uint8_t split;
  };
  std::vector<std::string> split_names_;
  std::vector<Block> blocks_;
  std::vector<Run> runs_;                 ///< of all blocks; a run never crosses a block
  std::vector<std::uint64_t> first_run_;  ///< per block, and one past the last
};

}  // namespace muster
