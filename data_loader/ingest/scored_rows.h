#pragma once
// Which rows of a dataset can be scored: all but those that a feature's `missing: drop` leaves out.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "data_loader/manifest/row_index.h"
#include "data_loader/reading/block_reader.h"

namespace muster {

/// One split, "all": every row but those in which a field among `fields` (numbers in `contract`) with
/// `missing: drop` misses its value. Reads those fields only; throws as `reader`.
RowIndex index_scored_rows(BlockReader& reader, const Contract& contract,
                           std::span<const std::size_t> fields);

}  // namespace muster
