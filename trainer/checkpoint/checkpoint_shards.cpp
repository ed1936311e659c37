#include "trainer/checkpoint/checkpoint_shards.h"

#include <algorithm>
#include <numeric>

#include "core/text.h"

namespace muster {
namespace {

constexpr std::uint64_t kLeastBytes = std::uint64_t{32} << 20;

/// Cuts where the sum so far comes nearest to each share; every shard has a tensor.
std::vector<CheckpointShard> cut(const char* kind, std::span<const std::uint64_t> sizes, int ranks,
                                 std::size_t files_before) {
  const std::uint64_t bytes = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
  const std::uint64_t most = std::min<std::uint64_t>(static_cast<std::uint64_t>(ranks), sizes.size());
  const auto shards = std::max<std::uint64_t>(1, std::min(most, bytes / kLeastBytes));
  std::vector<CheckpointShard> result(shards);
  std::size_t tensor = 0;
  std::uint64_t done = 0;
  for (std::uint64_t shard = 0; shard < shards; ++shard) {
    CheckpointShard& into = result[shard];
    into.file = fmt::format("{}-{:05}-of-{:05}.safetensors", kind, shard + 1, shards);
    into.rank = static_cast<int>((files_before + shard) % static_cast<std::uint64_t>(ranks));
    into.first = tensor;
    const std::uint64_t end = bytes / shards * (shard + 1);
    const std::size_t last = sizes.size() - (shards - shard - 1);  // leave one for each of the others
    while (tensor < last && (shard + 1 == shards || tensor == into.first || done + sizes[tensor] / 2 < end))
      done += sizes[tensor++];
    into.count = tensor - into.first;
  }
  return result;
}

std::vector<std::uint64_t> sizes_of(const std::vector<TensorBlob>& tensors) {
  std::vector<std::uint64_t> sizes;
  for (const TensorBlob& tensor : tensors) sizes.push_back(tensor.data.size());
  return sizes;
}

}  // namespace

CheckpointShards plan_shards(std::span<const std::uint64_t> model, std::span<const std::uint64_t> optimizer,
                             int ranks) {
  CheckpointShards shards;
  shards.model = cut("model", model, ranks, 0);
  shards.optimizer = cut("optimizer", optimizer, ranks, shards.model.size());
  return shards;
}

std::string model_index(std::span<const std::string> names, std::span<const std::uint64_t> sizes,
                        std::span<const CheckpointShard> shards) {
  Json map = Json::object();
  for (const CheckpointShard& shard : shards) {
    for (std::size_t i = 0; i < shard.count; ++i) map[names[shard.first + i]] = shard.file;
  }
  const std::uint64_t bytes = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
  return Json{{"metadata", {{"total_size", bytes}}}, {"weight_map", map}}.dump(2) + "\n";
}

std::vector<CheckpointFile> text_files(const Json& pipeline, const std::string& contract_yaml,
                                       const std::string& model_index) {
  return {{"model.safetensors.index.json", {}, model_index},
          {"pipeline.json", {}, canonical(pipeline) + "\n"},
          {"contract.yaml", {}, contract_yaml}};
}

CheckpointPart whole(const CheckpointContent& content) {
  const std::vector<std::uint64_t> model = sizes_of(content.model);
  const std::vector<std::uint64_t> optimizer = sizes_of(content.optimizer);
  const CheckpointShards shards = plan_shards(model, optimizer, 1);
  std::vector<std::string> names;
  for (const TensorBlob& tensor : content.model) names.push_back(tensor.name);
  CheckpointPart part;
  part.files = text_files(content.pipeline, content.contract_yaml, model_index(names, model, shards.model));
  part.files.push_back({shards.model.front().file, content.model, {}});
  part.files.push_back({shards.optimizer.front().file, content.optimizer, {}});
  part.checkpoint_bytes = std::accumulate(model.begin(), model.end(), std::uint64_t{0}) +
                          std::accumulate(optimizer.begin(), optimizer.end(), std::uint64_t{0});
  return part;
}

}  // namespace muster
