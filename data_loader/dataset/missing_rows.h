#pragma once
// Which rows of a column miss their value.

#include <cstddef>
#include <span>
#include <vector>

#include "data_loader/contract/contract.h"

namespace muster {

/// Of the first `rows` rows of a column of one value per row, aligned for its dtype: whether the field says
/// "missing" (Field::is_missing; of texts: empty).
std::vector<bool> missing_rows(const Field& field, std::span<const std::byte> column, std::size_t rows);

}  // namespace muster
