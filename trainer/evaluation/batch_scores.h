#pragma once
// A model's output for a batch as plain numbers. Torch-free header.

#include <cstdint>
#include <vector>

#include "data_loader/contract/batch.h"
#include "models/loss.h"

namespace muster {

/// predictions(scores, loss) as rows × outputs floats, row by row. Error{kBug} for another number of scores,
/// Error{kData} with partition and row for one that is not finite.
std::vector<float> batch_scores(const at::Tensor& scores, const Batch& batch, const LossSettings& loss,
                                std::int64_t outputs);

}  // namespace muster
