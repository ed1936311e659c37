#include "models/dropout.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "core/error.h"
#include "core/random.h"

namespace muster {

namespace {

/// Fills one row's mask: `scale` where a 32-bit random number is below `keep_below`, else 0.
void fill_row(std::span<float> mask, std::uint64_t key, std::uint64_t keep_below, float scale) {
  for (std::size_t first = 0; first < mask.size(); first += 4) {
    const auto words = philox(key, first / 4);
    const std::size_t count = std::min<std::size_t>(4, mask.size() - first);
    for (std::size_t i = 0; i < count; ++i) mask[first + i] = words[i] < keep_below ? scale : 0.0F;
  }
}

}  // namespace

at::Tensor keyed_dropout(const at::Tensor& x, double p, const ModelBatch& batch, std::uint64_t layer) {
  ensure(p >= 0 && p < 1, "a dropout probability of {}", p);
  if (!batch.training() || p == 0) return x;
  ensure(x.dim() >= 1 && x.size(0) == batch.rows(), "dropout of {} rows in a batch of {}",
         x.dim() == 0 ? 0 : x.size(0), batch.rows());
  const auto keep_below = static_cast<std::uint64_t>(std::llround((1 - p) * 0x1.0p32));
  const auto scale = static_cast<float>(1 / (1 - p));
  at::Tensor mask = at::empty(x.sizes(), at::kFloat);
  const std::size_t per_row = batch.rows() == 0 ? 0 : static_cast<std::size_t>(x.numel() / batch.rows());
  auto* values = mask.data_ptr<float>();
  for (const std::uint32_t position : batch.positions()) {
    const std::uint64_t key = random_key(batch.seed(), Purpose::kDropout, {batch.step(), layer, position});
    fill_row({values, per_row}, key, keep_below, scale);
    values += per_row;
  }
  return x * mask.to(x.device(), /*non_blocking=*/true);
}

}  // namespace muster
