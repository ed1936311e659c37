#pragma once
// Operators that have kernels of our own on GPUs: declared here as LibTorch's operators "muster::…", so that
// models can call them; libmuster_cuda registers what carries them out. All have gradients.

#include <cstdint>
#include <tuple>
#include <utility>

namespace c10 {
enum class ScalarType : std::int8_t;
}
namespace at {
class Tensor;
}

namespace muster {

/// Masks of a dropout: float32 [rows, per_row], `scale` where a 32-bit number of philox(keys[row], …) is
/// below `keep_below`, else 0: what models/dropout.cpp makes on the host. `keys`: int64 [rows], on the GPU.
at::Tensor gpu_dropout_mask(const at::Tensor& keys, std::int64_t per_row, std::uint64_t keep_below,
                            float scale);

/// Two float64 numbers, as Model::loss: the sum of the rows' cross-entropies times their weights, and the sum
/// of weights; log-sums in float32 from scores as they are, without a copy of them in float32. `scores`:
/// [rows, classes], float32, bfloat16 or float16. `classes_of`: int64 [rows]; not a number where one is no
/// class. `weights`: float32, one for each row, or for so many rows one after the other.
at::Tensor gpu_cross_entropy(const at::Tensor& scores, const at::Tensor& classes_of,
                             const at::Tensor& weights);
bool has_gpu_cross_entropy(const at::Tensor& scores);

/// Sums over the rows of [rows, columns], float32 [columns].
at::Tensor gpu_column_sums(const at::Tensor& x);

/// x + delta in float32, and its layer norm (epsilon 1e-5) over the last dimension in `type`, in one pass.
/// weight and bias: float32 [width].
std::pair<at::Tensor, at::Tensor> gpu_add_norm(const at::Tensor& x, const at::Tensor& delta,
                                               const at::Tensor& weight, const at::Tensor& bias,
                                               c10::ScalarType type);
/// Whether there is a kernel for them: x float32 on a GPU, delta float32 or of `type`, up to 2,048 values.
bool has_gpu_add_norm(const at::Tensor& x, const at::Tensor& delta, c10::ScalarType type);

/// relu(norm(x) + other) of a batch norm in training over all rows and pixels, the mean of each channel, and
/// 1 / √(its biased variance + epsilon), float32 [channels] both; without `other` where that is null, without
/// relu where it is false. weight and bias: float32 [channels].
std::tuple<at::Tensor, at::Tensor, at::Tensor> gpu_batch_norm(const at::Tensor& x, const at::Tensor* other,
                                                              const at::Tensor& weight,
                                                              const at::Tensor& bias, bool relu,
                                                              double epsilon);
/// Whether there is a kernel for them: channels last, in whole packs of 16 bytes.
bool has_gpu_batch_norm(const at::Tensor& x, const at::Tensor* other);

}  // namespace muster
