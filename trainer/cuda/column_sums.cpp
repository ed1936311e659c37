// muster::column_sums of models/gpu_operators.h.

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include "trainer/cuda/pack_grid.h"

namespace muster {
namespace {

at::Tensor column_sums(const at::Tensor& x) {
  const c10::cuda::CUDAGuard guard(x.device());
  const std::int64_t rows = x.size(0), columns = x.size(1);
  if (rows == 0 || columns == 0 || !x.is_contiguous() || columns * x.element_size() % 16 != 0)
    return x.sum(0, false, at::kFloat);
  const Grid grid = pack_grid(rows, columns, x.element_size(), 1);
  at::Tensor partial =
      at::empty({static_cast<std::int64_t>(grid.blocks.y), columns}, x.options().dtype(at::kFloat));
  at::Tensor sums = at::empty({columns}, partial.options());
  kernels().launch({"column_sums", {std::string("VALUE=") + type_name(x)}}, "column_sums", grid,
                   x.const_data_ptr(), partial.data_ptr<float>(), rows, static_cast<int>(columns));
  sum_partials(partial, sums);
  return sums;
}

TORCH_LIBRARY_IMPL(muster, CUDA, library) { library.impl("column_sums", column_sums); }

}  // namespace
}  // namespace muster
