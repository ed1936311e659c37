#include "trainer/loop/micro_batches.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace muster {

std::vector<RowRange> micro_batches(std::span<const std::uint32_t> lanes, std::size_t most,
                                    RowsTogether together) {
  const std::size_t rows = std::accumulate(lanes.begin(), lanes.end(), std::size_t{0});
  if (together == RowsTogether::kAll) return {{0, rows}};
  if (most == 0) most = std::numeric_limits<std::size_t>::max();
  std::vector<RowRange> ranges;
  if (together == RowsTogether::kNone) {
    for (std::size_t first = 0; first < rows; first += std::min(most, rows - first))
      ranges.push_back({first, std::min(most, rows - first)});
    return ranges;
  }
  for (const std::uint32_t lane : lanes) {
    const std::size_t first = ranges.empty() ? 0 : ranges.back().first + ranges.back().count;
    if (ranges.empty() || lane > most || ranges.back().count > most - lane) {
      ranges.push_back({first, lane});
    } else {
      ranges.back().count += lane;
    }
  }
  return ranges;
}

void check_micro_batch(std::size_t micro_batch, RowsTogether together, std::size_t per_lane,
                       std::size_t most_rows) {
  if (micro_batch == 0) return;
  if (together == RowsTogether::kLane && micro_batch < per_lane) {
    fail(ErrorCode::kConfig,
         "train.micro_batch is {}, but the model's batch norms need the {} rows of a lane together: raise "
         "it, or "
         "raise batch.lanes",
         micro_batch, per_lane);
  }
  if (together == RowsTogether::kAll && micro_batch < most_rows) {
    fail(ErrorCode::kConfig,
         "train.micro_batch is {}, but the model's batch norms need the {} rows of a rank together: raise "
         "it, take "
         "more ranks, or norms over each lane's rows",
         micro_batch, most_rows);
  }
}

}  // namespace muster
