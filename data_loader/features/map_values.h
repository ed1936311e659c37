#pragma once
// The inner loop of transforms that treat every value alike.

#include <cstddef>
#include <span>

#include "data_loader/contract/dtype.h"
#include "data_loader/contract/transform.h"

namespace muster {

/// Writes function(value), a float, for the `width` values of each target's row. `column` is aligned for
/// `type`; `function` takes any element type.
template <typename Function>
void map_values(DType type, std::size_t width, std::span<const std::byte> column,
                std::span<const RowTarget> targets, std::size_t offset, const Function& function) {
  visit(type, [&]<typename T>(T*) {
    const auto* values = reinterpret_cast<const T*>(column.data());
    if (width == 1) {
      for (const RowTarget& target : targets) target.floats()[offset] = function(values[target.row_in_block]);
      return;
    }
    constexpr std::size_t kRun = 16;  // a fixed length, so that compilers vectorise it at -O2 too
    for (const RowTarget& target : targets) {
      const T* from = values + target.row_in_block * width;
      float* __restrict to = target.floats() + offset;
      std::size_t i = 0;
      for (; i + kRun <= width; i += kRun) {
        for (std::size_t k = 0; k < kRun; ++k) to[i + k] = function(from[i + k]);
      }
      for (; i < width; ++i) to[i] = function(from[i]);
    }
  });
}

}  // namespace muster
