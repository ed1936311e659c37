#pragma once
// Checks the values of a column against what the contract says of its field.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "data_loader/contract/contract.h"
#include "data_loader/dataset/fault_list.h"

namespace muster {

/// Adds a fault for every value that the field does not allow: NaN where `missing: forbid`, infinities,
/// values out of range (bounds are first rounded to the field's dtype) or not among `allowed`. `column` holds
/// whole rows of the field; `first_row` is the number of the first in `file`. Faults say file:dataset[row].
void check_column(const Field& field, std::span<const std::byte> column, std::uint64_t first_row,
                  const std::string& file, FaultList& faults);

}  // namespace muster
