// muster::batch_norm of models/gpu_operators.h.

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "core/error.h"
#include "trainer/cuda/pack_grid.h"

namespace muster {
namespace {

/// x as [rows, channels].
struct Layout {
  explicit Layout(const at::Tensor& x)
      : rows(x.numel() / x.size(1)),
        channels(static_cast<int>(x.size(1))),
        program{"batch_norm", {std::string("VALUE=") + type_name(x)}},
        that_sums(pack_grid(rows, channels, x.element_size(), 2)),
        grid{that_sums.blocks, that_sums.threads} {}

  std::int64_t rows;
  int channels;
  KernelProgram program;
  Grid that_sums;
  Grid grid;
};

void check(const at::Tensor& x) {
  const auto format = x.dim() == 5 ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::ChannelsLast;
  ensure(x.numel() > 0 && x.size(1) * x.element_size() % 16 == 0 &&
             (x.dim() == 2 ? x.is_contiguous() : x.is_contiguous(format)),
         "a batch norm of other shapes");
}

const void* memory(const std::optional<at::Tensor>& tensor) {
  return tensor ? tensor->const_data_ptr() : nullptr;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> batch_norm(const at::Tensor& x,
                                                          const std::optional<at::Tensor>& other,
                                                          const at::Tensor& weight, const at::Tensor& bias,
                                                          bool relu, double epsilon) {
  check(x);
  const c10::cuda::CUDAGuard guard(x.device());
  const Layout layout(x);
  const auto options = weight.options();
  at::Tensor partial =
      at::empty({static_cast<std::int64_t>(layout.grid.blocks.y), 2, layout.channels}, options);
  at::Tensor mean = at::empty({layout.channels}, options);
  at::Tensor inverse = at::empty({layout.channels}, options);
  at::Tensor y = at::empty_like(x);
  kernels().launch(layout.program, "norm_sums", layout.that_sums, x.const_data_ptr(),
                   partial.data_ptr<float>(), layout.rows, layout.channels);
  kernels().launch(layout.program, "norm_statistics",
                   Grid{static_cast<unsigned>((layout.channels + 31) / 32), {32, 32}}, x.const_data_ptr(),
                   partial.const_data_ptr<float>(), mean.data_ptr<float>(), inverse.data_ptr<float>(),
                   static_cast<int>(layout.grid.blocks.y), layout.rows, layout.channels, epsilon);
  kernels().launch(layout.program, "norm_apply", layout.grid, x.const_data_ptr(), memory(other),
                   mean.const_data_ptr<float>(), inverse.const_data_ptr<float>(),
                   weight.const_data_ptr<float>(), bias.const_data_ptr<float>(), y.data_ptr(), layout.rows,
                   layout.channels, static_cast<int>(relu));
  return {y, mean, inverse};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> batch_norm_backward(
    const at::Tensor& dy, const at::Tensor& x, const std::optional<at::Tensor>& y, const at::Tensor& weight,
    const at::Tensor& bias, const at::Tensor& mean, const at::Tensor& inverse, bool relu) {
  check(dy);
  ensure(dy.sizes() == x.sizes() && dy.scalar_type() == x.scalar_type(),
         "a batch norm's gradient of another shape than its input");
  const c10::cuda::CUDAGuard guard(x.device());
  const Layout layout(x);
  at::Tensor partial =
      at::empty({static_cast<std::int64_t>(layout.grid.blocks.y), 2, layout.channels}, weight.options());
  at::Tensor sums = at::empty({2, layout.channels}, weight.options());
  at::Tensor dx = at::empty_like(x);
  at::Tensor d_other = y ? at::empty_like(x) : at::Tensor();
  kernels().launch(layout.program, "norm_backward_sums", layout.that_sums, dy.const_data_ptr(),
                   x.const_data_ptr(), memory(y), mean.const_data_ptr<float>(),
                   inverse.const_data_ptr<float>(), weight.const_data_ptr<float>(),
                   bias.const_data_ptr<float>(), partial.data_ptr<float>(), layout.rows, layout.channels,
                   static_cast<int>(relu));
  sum_partials(partial, sums);
  kernels().launch(layout.program, "norm_backward", layout.grid, dy.const_data_ptr(), x.const_data_ptr(),
                   memory(y), mean.const_data_ptr<float>(), inverse.const_data_ptr<float>(),
                   weight.const_data_ptr<float>(), bias.const_data_ptr<float>(), sums.const_data_ptr<float>(),
                   dx.data_ptr(), d_other.defined() ? d_other.data_ptr() : static_cast<void*>(nullptr),
                   layout.rows, layout.channels, static_cast<int>(relu));
  return {dx, d_other, sums[0], sums[1]};
}

TORCH_LIBRARY_IMPL(muster, CUDA, library) {
  library.impl("batch_norm", batch_norm);
  library.impl("batch_norm_backward", batch_norm_backward);
}

}  // namespace
}  // namespace muster
