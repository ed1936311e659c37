#include "models/dropout.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "core/error.h"
#include "core/random.h"
#include "models/gpu_operators.h"

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

/// Of each row; int64, as tensors have no unsigned numbers.
std::vector<std::int64_t> row_keys(const ModelBatch& batch, std::uint64_t layer) {
  std::vector<std::int64_t> keys;
  for (const std::uint32_t position : batch.positions()) {
    keys.push_back(static_cast<std::int64_t>(
        random_key(batch.seed(), Purpose::kDropout, {batch.step(), layer, position})));
  }
  return keys;
}

}  // namespace

at::Tensor keyed_dropout(const at::Tensor& x, double p, const ModelBatch& batch, std::uint64_t layer) {
  ensure(p >= 0 && p < 1, "a dropout probability of {}", p);
  if (!batch.training() || p == 0) return x;
  ensure(x.dim() >= 1 && x.size(0) == batch.rows(), "dropout of {} rows in a batch of {}",
         x.dim() == 0 ? 0 : x.size(0), batch.rows());
  const auto keep_below = static_cast<std::uint64_t>(std::llround((1 - p) * 0x1.0p32));
  const auto scale = static_cast<float>(1 / (1 - p));
  const std::int64_t per_row = batch.rows() == 0 ? 0 : x.numel() / batch.rows();
  const std::vector<std::int64_t> keys = row_keys(batch, layer);
  if (x.is_cuda()) {
    const at::Tensor on_gpu = at::tensor(keys, at::kLong).to(x.device(), /*non_blocking=*/true);
    return x * gpu_dropout_mask(on_gpu, per_row, keep_below, scale).view(x.sizes());
  }
  at::Tensor mask = at::empty(x.sizes(), at::kFloat);
  auto* values = mask.data_ptr<float>();
  for (const std::int64_t key : keys) {
    fill_row({values, static_cast<std::size_t>(per_row)}, static_cast<std::uint64_t>(key), keep_below, scale);
    values += per_row;
  }
  return x * mask;
}

}  // namespace muster
