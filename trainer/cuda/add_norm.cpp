// muster::add_norm of models/gpu_operators.h.

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "core/error.h"
#include "trainer/cuda/pack_grid.h"

namespace muster {
namespace {

constexpr unsigned kWarps = 4;  // of a block: a row each (device/add_norm.cu)
constexpr std::int64_t kMostBlocks = 1056;

KernelProgram program_for(const at::Tensor& delta, const at::Tensor& normal) {
  return {"add_norm",
          {std::string("DELTA=") + type_name(delta), std::string("NORMAL=") + type_name(normal),
           fmt::format("FOURS={}", (normal.size(-1) + 127) / 128)}};
}

unsigned blocks_of(std::int64_t rows, std::int64_t most) {
  return blocks_for((rows + kWarps - 1) / kWarps, most);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> add_norm(const at::Tensor& x,
                                                                    const at::Tensor& delta,
                                                                    const at::Tensor& weight,
                                                                    const at::Tensor& bias,
                                                                    at::ScalarType type) {
  ensure(x.is_contiguous() && delta.is_contiguous() && delta.sizes() == x.sizes() &&
             x.scalar_type() == at::kFloat && x.size(-1) % 4 == 0,
         "an add_norm of other shapes");
  const c10::cuda::CUDAGuard guard(x.device());
  const std::int64_t width = x.size(-1);
  const std::int64_t rows = x.numel() / width;
  at::Tensor sum = at::empty_like(x);
  at::Tensor normal = at::empty(x.sizes(), x.options().dtype(type));
  at::Tensor mean = at::empty({rows}, x.options());
  at::Tensor inverse = at::empty({rows}, x.options());
  if (rows > 0) {
    kernels().launch(program_for(delta, normal), "add_norm", Grid{blocks_of(rows, 1 << 20), 32 * kWarps},
                     x.const_data_ptr<float>(), delta.const_data_ptr(), weight.const_data_ptr<float>(),
                     bias.const_data_ptr<float>(), sum.data_ptr<float>(), normal.data_ptr(),
                     mean.data_ptr<float>(), inverse.data_ptr<float>(), rows, static_cast<int>(width), 1e-5F);
  }
  return {sum, normal, mean, inverse};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> add_norm_backward(
    const std::optional<at::Tensor>& d_sum, const at::Tensor& d_normal, const at::Tensor& sum,
    const at::Tensor& weight, const at::Tensor& mean, const at::Tensor& inverse, at::ScalarType delta_type) {
  const c10::cuda::CUDAGuard guard(sum.device());
  const std::int64_t width = sum.size(-1);
  const std::int64_t rows = sum.numel() / width;
  at::Tensor d_x = at::empty_like(sum);
  at::Tensor d_delta = at::empty(sum.sizes(), sum.options().dtype(delta_type));
  const unsigned blocks = blocks_of(rows, kMostBlocks);
  at::Tensor partial = at::empty({blocks, 2, width}, sum.options());
  at::Tensor sums = at::zeros({2, width}, sum.options());
  if (rows > 0) {
    const Grid grid{blocks, 32 * kWarps, sizeof(float) * 2 * static_cast<std::size_t>(width)};
    kernels().launch(program_for(d_delta, d_normal), "add_norm_backward", grid,
                     d_sum ? d_sum->const_data_ptr<float>() : static_cast<const float*>(nullptr),
                     d_normal.const_data_ptr(), sum.const_data_ptr<float>(), weight.const_data_ptr<float>(),
                     mean.const_data_ptr<float>(), inverse.const_data_ptr<float>(), d_x.data_ptr<float>(),
                     d_delta.data_ptr(), partial.data_ptr<float>(), rows, static_cast<int>(width));
    sum_partials(partial, sums);
  }
  return {d_x, d_delta, sums[0], sums[1]};
}

TORCH_LIBRARY_IMPL(muster, CUDA, library) {
  library.impl("add_norm", add_norm);
  library.impl("add_norm_backward", add_norm_backward);
}

}  // namespace
}  // namespace muster
