#pragma once
// How threads are laid over [rows, columns] where each keeps to one pack of 16 bytes of columns and goes down
// the rows.

#include <cstdint>

#include "trainer/cuda/kernels.h"

namespace muster {

/// `sums`: how many float32 sums of each column a block keeps in shared memory; 0: none. The number of blocks
/// over rows is grid.blocks.y, and depends on the sizes alone: so do the bits.
Grid pack_grid(std::int64_t rows, std::int64_t columns, std::int64_t element_size, unsigned sums);

/// sums[c] = Σ over blocks of partial[block][c]; float32.
void sum_partials(const at::Tensor& partial, const at::Tensor& sums);

}  // namespace muster
