// muster::cross_entropy of models/gpu_operators.h.

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>

#include "core/error.h"
#include "trainer/cuda/kernels.h"

namespace muster {
namespace {

KernelProgram program_for(const at::Tensor& scores) {
  return {"cross_entropy", {std::string("SCORE=") + type_name(scores)}};
}

/// A block for each row.
Grid grid_for(const at::Tensor& scores) { return {static_cast<unsigned>(scores.size(0)), 512}; }

/// Losses that share a weight.
std::int64_t per_weight(const at::Tensor& scores, const at::Tensor& weights) {
  return std::max<std::int64_t>(1, scores.size(0) / std::max<std::int64_t>(1, weights.numel()));
}

std::tuple<at::Tensor, at::Tensor> cross_entropy(const at::Tensor& scores, const at::Tensor& classes_of,
                                                 const at::Tensor& weights) {
  ensure(scores.dim() == 2 && scores.is_contiguous() && classes_of.is_contiguous() &&
             classes_of.numel() == scores.size(0) && classes_of.scalar_type() == at::kLong &&
             weights.is_contiguous() && weights.scalar_type() == at::kFloat &&
             per_weight(scores, weights) * weights.numel() == scores.size(0),
         "a cross-entropy of other shapes");
  const c10::cuda::CUDAGuard guard(scores.device());
  const auto options = scores.options().dtype(at::kFloat);
  at::Tensor sums = at::empty({2}, options.dtype(at::kDouble));
  if (scores.numel() == 0) return {sums.zero_(), at::empty({0}, options)};
  at::Tensor losses = at::empty({scores.size(0)}, options);
  at::Tensor log_sums = at::empty({scores.size(0)}, options);
  const KernelProgram program = program_for(scores);
  kernels().launch(program, "cross_entropy", grid_for(scores), scores.const_data_ptr(),
                   classes_of.const_data_ptr<std::int64_t>(), losses.data_ptr<float>(),
                   log_sums.data_ptr<float>(), scores.size(1));
  kernels().launch(program, "weighted_sums", Grid{1, 1024}, losses.const_data_ptr<float>(),
                   weights.const_data_ptr<float>(), sums.data_ptr<double>(), scores.size(0),
                   per_weight(scores, weights));
  return {sums, log_sums};
}

at::Tensor cross_entropy_backward(const at::Tensor& scores, const at::Tensor& classes_of,
                                  const at::Tensor& weights, const at::Tensor& log_sums,
                                  const at::Tensor& d_sums) {
  const c10::cuda::CUDAGuard guard(scores.device());
  at::Tensor out = at::empty_like(scores);
  if (scores.numel() > 0) {
    kernels().launch(program_for(scores), "cross_entropy_backward", grid_for(scores), scores.const_data_ptr(),
                     classes_of.const_data_ptr<std::int64_t>(), log_sums.const_data_ptr<float>(),
                     weights.const_data_ptr<float>(), d_sums.const_data_ptr<double>(), out.data_ptr(),
                     scores.size(1), per_weight(scores, weights));
  }
  return out;
}

TORCH_LIBRARY_IMPL(muster, CUDA, library) {
  library.impl("cross_entropy", cross_entropy);
  library.impl("cross_entropy_backward", cross_entropy_backward);
}

}  // namespace
}  // namespace muster
