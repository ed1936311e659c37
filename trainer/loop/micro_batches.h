#pragma once
// How a rank's rows of a step are cut into forward passes.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace muster {

/// Consecutive rows of a batch.
struct RowRange {
  std::size_t first = 0;
  std::size_t count = 0;
  bool operator==(const RowRange&) const = default;
};

/// Which rows a model needs to see together.
enum class RowsTogether {
  kNone,
  kLane,  ///< those of one lane
  kAll    ///< all of a step: one forward pass, also where there are no rows
};

/// In order, of at most `most` rows each (0: all of them). `lanes`: rows of each lane. kLane: as many whole
/// lanes as `most` rows have room for, and at least one; kAll: one pass.
std::vector<RowRange> micro_batches(std::span<const std::uint32_t> lanes, std::size_t most,
                                    RowsTogether together);

/// Error{kConfig} where `micro_batch` (0: none) would part rows that the model needs together. `per_lane`:
/// rows of a lane in a step; `most_rows`: that any rank can have.
void check_micro_batch(std::size_t micro_batch, RowsTogether together, std::size_t per_lane,
                       std::size_t most_rows);

}  // namespace muster
