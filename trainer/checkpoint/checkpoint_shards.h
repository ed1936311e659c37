#pragma once
// Which rank writes which tensors of a checkpoint, into which file. A pure function of sizes and ranks.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "trainer/checkpoint/checkpoint_part.h"
#include "trainer/checkpoint/checkpoint_reader.h"

namespace muster {

/// A run of consecutive tensors in one file.
struct CheckpointShard {
  std::string file;  ///< "model-00001-of-00002.safetensors"
  int rank = 0;      ///< who writes it
  std::size_t first = 0;
  std::size_t count = 0;
};

/// Shards of a model and of its optimizer state, given the tensors' sizes in bytes. Each kind has as many
/// shards as ranks, but none of under 32 MiB where there is another (so that small models are one file), in
/// near equal bytes; ranks take the files in turn.
struct CheckpointShards {
  std::vector<CheckpointShard> model;
  std::vector<CheckpointShard> optimizer;
};
CheckpointShards plan_shards(std::span<const std::uint64_t> model, std::span<const std::uint64_t> optimizer,
                             int ranks);

/// model.safetensors.index.json: which file holds which tensor, as loaders of sharded weights look for it.
std::string model_index(std::span<const std::string> names, std::span<const std::uint64_t> sizes,
                        std::span<const CheckpointShard> shards);

/// All files of a checkpoint as the part of one rank that has everything.
CheckpointPart whole(const CheckpointContent& content);
/// The files with texts, which rank 0 writes.
std::vector<CheckpointFile> text_files(const Json& pipeline, const std::string& contract_yaml,
                                       const std::string& model_index);

}  // namespace muster
