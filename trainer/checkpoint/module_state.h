#pragma once
// A module's parameters and buffers as plain named tensors, and back.

#include <cstdint>
#include <vector>

#include "core/hash.h"
#include "trainer/checkpoint/module_tensors.h"
#include "trainer/checkpoint/safetensors.h"
#include "trainer/comm/communicator.h"

namespace muster {

struct TensorShape {
  std::string name;
  std::vector<std::int64_t> shape;
};
/// Of parameters and buffers.
std::vector<TensorShape> tensor_shapes(torch::nn::Module& module);
/// Parameters and buffers under LibTorch's names; tied tensors once (under their first name).
std::vector<TensorBlob> module_state(torch::nn::Module& module);
/// Error{kStorage} names a tensor that is missing, unknown, or has another shape or type. Nothing is changed
/// then.
void load_module_state(torch::nn::Module& module, const std::vector<TensorBlob>& blobs);
/// Collective. Every rank gets rank 0's parameters and buffers.
void broadcast_module(torch::nn::Module& module, Communicator& comm);
/// Of the tensors' values, in their order: equal on two ranks if and, but for chance, only if those are.
std::string hash_of(const NamedTensors& tensors);
std::uint64_t parameter_count(torch::nn::Module& module);
/// Of the parameters that require gradients.
std::uint64_t trainable_count(torch::nn::Module& module);

}  // namespace muster
