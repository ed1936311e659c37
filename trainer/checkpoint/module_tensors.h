#pragma once
// A module's tensors under LibTorch's names, tied ones once: the one order that buckets, optimizer state and
// checkpoints share.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/checkpoint/safetensors.h"

namespace at {
class Tensor;
}
namespace torch::nn {
class Module;
}

namespace muster {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Parameters that require gradients, in order of registration. They share memory with the module.
NamedTensors trainable_parameters(torch::nn::Module& module);
/// Parameters, trainable or not.
NamedTensors module_parameters(torch::nn::Module& module);
/// Parameters, then buffers.
NamedTensors module_tensors(torch::nn::Module& module);

/// "[3, 224, 224]".
std::string shape_text(std::span<const std::int64_t> shape);
/// A copy of the tensor's values. Error{kConfig} for a type that checkpoints do not hold.
TensorBlob to_blob(const std::string& name, const at::Tensor& tensor);
std::vector<TensorBlob> to_blobs(const NamedTensors& tensors);
/// As to_blob, into a blob whose memory is used again where its size fits.
void copy_into(const std::string& name, const at::Tensor& tensor, TensorBlob& blob);
/// A copy of the blob's values, on the CPU. Error{kStorage} for a type that checkpoints do not hold, or bytes
/// that do not fit the shape.
at::Tensor to_tensor(const TensorBlob& blob);
/// Error{kStorage} unless `blobs` has exactly these tensors, in any order, with their types and shapes;
/// `what` they are, for the message ("the optimizer state").
void check_blobs(const NamedTensors& tensors, const std::vector<TensorBlob>& blobs, std::string_view what);
/// Overwrites the tensors with the values of blobs that check_blobs accepted.
void copy_blobs(const NamedTensors& tensors, const std::vector<TensorBlob>& blobs);

}  // namespace muster
