// muster::dropout_mask of models/gpu_operators.h.

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include "trainer/cuda/kernels.h"

namespace muster {
namespace {

at::Tensor dropout_mask(const at::Tensor& keys, std::int64_t per_row, std::int64_t keep_below, double scale) {
  constexpr unsigned kThreads = 256;
  const c10::cuda::CUDAGuard guard(keys.device());
  at::Tensor mask = at::empty({keys.size(0), per_row}, keys.options().dtype(at::kFloat));
  if (mask.numel() > 0) {
    const std::int64_t fours = keys.size(0) * ((per_row + 3) / 4);
    const Grid grid{blocks_for((fours + kThreads - 1) / kThreads, 1 << 16), kThreads};
    kernels().launch({"dropout_mask", {}}, "dropout_mask", grid, keys.const_data_ptr<std::int64_t>(),
                     mask.data_ptr<float>(), keys.size(0), per_row, static_cast<std::uint64_t>(keep_below),
                     static_cast<float>(scale));
  }
  return mask;
}

TORCH_LIBRARY_IMPL(muster, CUDA, library) { library.impl("dropout_mask", dropout_mask); }

}  // namespace
}  // namespace muster
