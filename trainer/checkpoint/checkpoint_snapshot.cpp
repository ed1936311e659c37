#include "trainer/checkpoint/checkpoint_snapshot.h"

#include <torch/torch.h>

#include <numeric>

namespace muster {

struct CheckpointSnapshot::State {
  NamedTensors model;
  NamedTensors optimizer;
  std::vector<std::uint64_t> model_bytes;
  std::vector<std::uint64_t> optimizer_bytes;
  CheckpointShards shards;
  int rank = 0;

  void take(const NamedTensors& tensors, const std::vector<CheckpointShard>& files, CheckpointPart& used,
            CheckpointPart& part) const {
    for (const CheckpointShard& shard : files) {
      if (shard.rank != rank) continue;
      CheckpointFile file{shard.file, {}, {}};
      for (CheckpointFile& earlier : used.files) {
        if (earlier.name == shard.file) file.tensors = std::move(earlier.tensors);
      }
      file.tensors.resize(shard.count);
      for (std::size_t i = 0; i < shard.count; ++i) {
        const auto& [name, tensor] = tensors[shard.first + i];
        copy_into(name, tensor, file.tensors[i]);
      }
      part.files.push_back(std::move(file));
    }
  }
};

namespace {

std::vector<std::uint64_t> sizes_of(const NamedTensors& tensors) {
  std::vector<std::uint64_t> sizes;
  for (const auto& [name, tensor] : tensors) sizes.push_back(tensor.nbytes());
  return sizes;
}

}  // namespace

CheckpointSnapshot::CheckpointSnapshot(NamedTensors model, NamedTensors optimizer, int rank, int world)
    : state_(std::make_unique<State>()) {
  state_->model = std::move(model);
  state_->optimizer = std::move(optimizer);
  state_->model_bytes = sizes_of(state_->model);
  state_->optimizer_bytes = sizes_of(state_->optimizer);
  state_->shards = plan_shards(state_->model_bytes, state_->optimizer_bytes, world);
  state_->rank = rank;
}

CheckpointSnapshot::~CheckpointSnapshot() = default;
CheckpointSnapshot::CheckpointSnapshot(CheckpointSnapshot&&) noexcept = default;

CheckpointPart CheckpointSnapshot::take(CheckpointPart used) const {
  CheckpointPart part;
  part.checkpoint_bytes = bytes();
  state_->take(state_->model, state_->shards.model, used, part);
  state_->take(state_->optimizer, state_->shards.optimizer, used, part);
  return part;
}

std::uint64_t CheckpointSnapshot::bytes() const {
  const auto sum = [](const auto& sizes) {
    return std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
  };
  return sum(state_->model_bytes) + sum(state_->optimizer_bytes);
}

std::string CheckpointSnapshot::model_index() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : state_->model) names.push_back(name);
  return muster::model_index(names, state_->model_bytes, state_->shards.model);
}

}  // namespace muster
