#pragma once
// Numbers of one type as numbers of another, without silent loss of what they say.

#include <cstddef>
#include <optional>
#include <span>

#include "data_loader/contract/contract.h"

namespace muster {

/// Converts little-endian numbers of type `from` to the field's dtype, one by one. An integer must fit, in a
/// float exactly; a float becomes an integer only if it is whole and fits, and NaN the field's missing_value
/// where it has one; to a narrower float it is rounded, but must not overflow. Returns the place of the first
/// number that cannot be converted, or nothing.
std::optional<std::size_t> convert_numbers(DType from, std::span<const std::byte> in, const Field& field,
                                           std::span<std::byte> out);

}  // namespace muster
