#include "trainer/checkpoint/module_state.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "core/fast_hash.h"
#include "core/text.h"
#include "trainer/checkpoint/module_tensors.h"

namespace muster {

namespace {

struct TypeName {
  at::ScalarType type;
  const char* name;
};

constexpr TypeName kTypeNames[] = {{at::kFloat, "F32"}, {at::kDouble, "F64"},   {at::kLong, "I64"},
                                   {at::kInt, "I32"},   {at::kByte, "U8"},      {at::kBool, "BOOL"},
                                   {at::kHalf, "F16"},  {at::kBFloat16, "BF16"}};

/// "" for a type that checkpoints do not hold.
std::string type_name(at::ScalarType type) {
  for (const TypeName& entry : kTypeNames) {
    if (entry.type == type) return entry.name;
  }
  return "";
}

template <typename Items>
void append_once(const Items& items, NamedTensors& tensors) {
  for (const auto& item : items) {
    const auto same = [&](const auto& known) { return known.second.is_same(item.value()); };
    if (std::none_of(tensors.begin(), tensors.end(), same)) tensors.emplace_back(item.key(), item.value());
  }
}

std::span<std::byte> bytes_of(const at::Tensor& contiguous) {
  return {static_cast<std::byte*>(contiguous.data_ptr()), contiguous.nbytes()};
}

std::map<std::string, const TensorBlob*> by_name(const std::vector<TensorBlob>& blobs) {
  std::map<std::string, const TensorBlob*> found;
  for (const TensorBlob& blob : blobs) found[blob.name] = &blob;
  return found;
}

}  // namespace

std::string shape_text(std::span<const std::int64_t> shape) {
  std::vector<std::string> sizes;
  for (const std::int64_t size : shape) sizes.push_back(std::to_string(size));
  return "[" + join(sizes, ", ") + "]";
}

NamedTensors module_parameters(torch::nn::Module& module) {
  NamedTensors all;
  append_once(module.named_parameters(), all);
  return all;
}

NamedTensors trainable_parameters(torch::nn::Module& module) {
  NamedTensors all = module_parameters(module);
  std::erase_if(all, [](const auto& named) { return !named.second.requires_grad(); });
  return all;
}

NamedTensors module_tensors(torch::nn::Module& module) {
  NamedTensors all = module_parameters(module);
  append_once(module.named_buffers(), all);
  return all;
}

void copy_into(const std::string& name, const at::Tensor& tensor, TensorBlob& blob) {
  const std::string type = type_name(tensor.scalar_type());
  if (type.empty()) {
    fail(ErrorCode::kConfig, "the model's '{}' is of a type that checkpoints do not hold: {}", name,
         c10::toString(tensor.scalar_type()));
  }
  blob.name = name;
  blob.dtype = type;
  blob.shape = tensor.sizes().vec();
  blob.data.resize(tensor.nbytes());
  at::from_blob(blob.data.data(), tensor.sizes(), tensor.scalar_type()).copy_(tensor.detach());
}

TensorBlob to_blob(const std::string& name, const at::Tensor& tensor) {
  TensorBlob blob;
  copy_into(name, tensor, blob);
  return blob;
}

std::vector<TensorBlob> to_blobs(const NamedTensors& tensors) {
  std::vector<TensorBlob> blobs;
  for (const auto& [name, tensor] : tensors) blobs.push_back(to_blob(name, tensor));
  return blobs;
}

at::Tensor to_tensor(const TensorBlob& blob) {
  const auto type =
      std::ranges::find_if(kTypeNames, [&](const TypeName& entry) { return entry.name == blob.dtype; });
  if (type == std::end(kTypeNames))
    fail(ErrorCode::kStorage, "'{}' is of a type that checkpoints do not hold: {}", blob.name, blob.dtype);
  at::Tensor values = at::empty(blob.shape, type->type);
  if (values.nbytes() != blob.data.size())
    fail(ErrorCode::kStorage, "'{}' has {} bytes, its shape wants {}", blob.name, blob.data.size(),
         values.nbytes());
  std::ranges::copy(blob.data, bytes_of(values).begin());
  return values;
}

void check_blobs(const NamedTensors& tensors, const std::vector<TensorBlob>& blobs, std::string_view what) {
  const auto found = by_name(blobs);
  for (const auto& [name, tensor] : tensors) {
    const auto entry = found.find(name);
    if (entry == found.end()) fail(ErrorCode::kStorage, "{} has no tensor '{}'", what, name);
    const TensorBlob& blob = *entry->second;
    const std::string type = type_name(tensor.scalar_type());
    if (blob.dtype != type || blob.shape != tensor.sizes().vec() || blob.data.size() != tensor.nbytes()) {
      fail(ErrorCode::kStorage, "'{}' in {} is {} {} of {} bytes, the model wants {} {}", name, what,
           blob.dtype, shape_text(blob.shape), blob.data.size(), type, shape_text(tensor.sizes()));
    }
  }
  std::set<std::string> seen;
  for (const TensorBlob& blob : blobs) {
    const auto same = [&](const auto& named) { return named.first == blob.name; };
    if (std::none_of(tensors.begin(), tensors.end(), same)) {
      fail(ErrorCode::kStorage, "{} has a tensor '{}' that the model does not know", what, blob.name);
    }
    if (!seen.insert(blob.name).second) fail(ErrorCode::kStorage, "{} has '{}' twice", what, blob.name);
  }
}

void copy_blobs(const NamedTensors& tensors, const std::vector<TensorBlob>& blobs) {
  const torch::NoGradGuard no_grad;
  const auto found = by_name(blobs);
  for (const auto& [name, tensor] : tensors) {
    at::Tensor values = at::empty(tensor.sizes(), tensor.scalar_type());
    std::ranges::copy(found.at(name)->data, bytes_of(values).begin());
    tensor.copy_(values);
  }
}

std::vector<TensorShape> tensor_shapes(torch::nn::Module& module) {
  std::vector<TensorShape> shapes;
  for (const auto& [name, tensor] : module_tensors(module)) shapes.push_back({name, tensor.sizes().vec()});
  return shapes;
}

std::vector<TensorBlob> module_state(torch::nn::Module& module) { return to_blobs(module_tensors(module)); }

void load_module_state(torch::nn::Module& module, const std::vector<TensorBlob>& blobs) {
  const NamedTensors tensors = module_tensors(module);
  check_blobs(tensors, blobs, "the model state");
  copy_blobs(tensors, blobs);
}

void broadcast_module(torch::nn::Module& module, Communicator& comm) {
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : module_tensors(module)) {
    const at::Tensor values = tensor.detach().to(at::kCPU).contiguous();
    comm.broadcast("start weights " + name, bytes_of(values), 0);
    if (values.data_ptr() != tensor.data_ptr()) tensor.copy_(values);
  }
}

std::string hash_of(const NamedTensors& tensors) {
  FastHasher hasher;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor values = tensor.detach().to(at::kCPU).contiguous();
    hasher.update(bytes_of(values));
  }
  return hasher.hex();
}

namespace {

std::uint64_t count_of(const NamedTensors& tensors) {
  std::uint64_t count = 0;
  for (const auto& [name, tensor] : tensors) count += static_cast<std::uint64_t>(tensor.numel());
  return count;
}

}  // namespace

std::uint64_t parameter_count(torch::nn::Module& module) { return count_of(module_parameters(module)); }
std::uint64_t trainable_count(torch::nn::Module& module) { return count_of(trainable_parameters(module)); }

}  // namespace muster
