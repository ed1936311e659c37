#include "trainer/cuda/pack_grid.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>

namespace muster {

Grid pack_grid(std::int64_t rows, std::int64_t columns, std::int64_t element_size, unsigned sums) {
  constexpr unsigned kThreads = 256;
  constexpr std::int64_t kMostBlocks = 1056;
  constexpr std::int64_t kRowsOfAThread = 8;
  const auto pack = static_cast<unsigned>(16 / element_size);
  const unsigned packs = static_cast<unsigned>(columns) / pack;
  Grid grid;
  grid.threads.x = std::min(packs, 32U);
  grid.threads.y = std::bit_floor(kThreads / grid.threads.x);
  grid.blocks.x = (packs + grid.threads.x - 1) / grid.threads.x;
  grid.blocks.y = blocks_for(rows / (kRowsOfAThread * grid.threads.y),
                             std::max<std::int64_t>(1, kMostBlocks / grid.blocks.x));
  grid.shared = sizeof(float) * grid.threads.x * grid.threads.y * sums * pack;
  return grid;
}

void sum_partials(const at::Tensor& partial, const at::Tensor& sums) {
  const auto columns = static_cast<int>(sums.numel());
  const Grid grid{static_cast<unsigned>((columns + 31) / 32), {32, 32}};
  kernels().launch({"sum_partials", {}}, "sum_partials", grid, partial.const_data_ptr<float>(),
                   sums.data_ptr<float>(), static_cast<int>(partial.size(0)), columns);
}

}  // namespace muster
