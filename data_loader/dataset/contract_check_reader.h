#pragma once
// Checks what is read against a contract that the data were not validated by.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data_loader/manifest/row_index.h"
#include "data_loader/reading/block_reader.h"

namespace muster {

/// A field as the other contract has it, with the path that the data have.
struct CheckedField {
  std::size_t number = 0;  ///< in the reader's contract
  Field rules;             ///< same dtype, length and shape there
};

/// Reads through `reader`; the rows that `index` has in `split` are checked by the rules of their fields.
/// Throws Error{kData} with file:dataset[row] of the first value that breaks them. Thread-safe as `reader`;
/// `index` outlives it.
std::unique_ptr<BlockReader> make_contract_check_reader(std::unique_ptr<BlockReader> reader,
                                                        std::vector<CheckedField> fields,
                                                        const RowIndex& index, std::uint8_t split);

}  // namespace muster
