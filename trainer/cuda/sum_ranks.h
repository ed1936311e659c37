#pragma once
// The middle of a reduce-scatter in rank order.

namespace at {
class Tensor;
}

namespace muster {

/// terms: bfloat16 [ranks, count], contiguous; sum: bfloat16 [count]. Adds in float32, in rank order, and
/// rounds once. On the current stream.
void sum_ranks(const at::Tensor& terms, const at::Tensor& sum);

}  // namespace muster
