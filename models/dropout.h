#pragma once
// Dropout as a function of (seed, step, layer, position in the global batch, element): the same mask for any
// number of ranks and any micro-batch.

#include <cstdint>

#include "models/model_batch.h"

namespace muster {

/// x [rows, …] with elements zeroed with probability `p` in [0, 1) and the others scaled by 1 / (1 - p); x
/// itself when the batch is not training or p is 0. `layer`: any number that differs between the dropouts of
/// a model.
at::Tensor keyed_dropout(const at::Tensor& x, double p, const ModelBatch& batch, std::uint64_t layer);

}  // namespace muster
