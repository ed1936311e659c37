#pragma once
// Which rows of a dataset can be scored: all but those that a feature's `missing: drop` leaves out.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "data_loader/block_reader.h"
#include "data_loader/row_index.h"

namespace muster {

/// One byte a row of blocks [first, last): 0, or RowIndex::kNone where a field among `fields` (numbers in
/// `contract`) with `missing: drop` misses its value. Reads those fields only; throws as `reader`.
std::vector<std::uint8_t> splits_of_scored_rows(BlockReader& reader, const Contract& contract,
                                                std::span<const std::size_t> fields, std::uint32_t first,
                                                std::uint32_t last);

/// An index with one split, "all", from the bytes of all blocks in order.
RowIndex index_of_scored_rows(const std::vector<Block>& blocks, std::span<const std::uint8_t> splits);

}  // namespace muster
