#include "trainer/evaluation/batch_scores.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace muster {

std::vector<float> batch_scores(const at::Tensor& scores, const Batch& batch, const LossSettings& loss,
                                std::int64_t outputs) {
  const at::Tensor predicted = predictions(scores, loss).to(at::kCPU, at::kFloat).contiguous();
  const auto size = static_cast<std::size_t>(predicted.numel());
  const auto per_row = static_cast<std::size_t>(outputs);
  ensure(size == batch.rows() * per_row, "the model gives {} scores for {} rows and {} outputs", size,
         batch.rows(), outputs);
  const float* first = predicted.data_ptr<float>();
  std::vector<float> values(first, first + size);
  const auto bad = std::ranges::find_if(values, [](float v) { return !std::isfinite(v); });
  if (bad != values.end()) {
    const RowId id = batch.ids()[static_cast<std::size_t>(bad - values.begin()) / per_row];
    fail(ErrorCode::kData, "the model's score of partition {} row {} is not finite", id.partition, id.row);
  }
  return values;
}

}  // namespace muster
