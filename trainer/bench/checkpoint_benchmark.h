#pragma once
// `muster bench checkpoint`: what writing a checkpoint costs on a disk, beside what the disk and the hash
// could do at most.

#include <cstdint>
#include <filesystem>

#include "core/file_system.h"
#include "core/json.h"
#include "trainer/comm/communicator.h"

namespace muster {

struct CheckpointBenchmarkOptions {
  std::uint64_t bytes = std::uint64_t{400} << 20;  ///< of the state, over all ranks
  std::filesystem::path directory = ".";  ///< on the disk to measure; what is written there is removed
  std::uint64_t rounds = 5;
};

/// Collective. Each rank writes its share of the state, as training does, in turns with plain writes of the
/// same bytes. Medians over the rounds, of the slowest rank, in seconds: {ranks, bytes, copy_seconds (in
/// memory: how long training stands still), write_seconds (written, hashed, synced), verify_seconds (read
/// back from the disk and hashed), plain_seconds (written and synced, as dd does), hash_seconds (SHA-256 in
/// memory), ratio_to_plain, ratio_to_limit: write_seconds over the longer of plain and hash}. Error{kStorage}
/// where the disk fails.
Json benchmark_checkpoint(Communicator& comm, FileSystem& files, const CheckpointBenchmarkOptions& options);

}  // namespace muster
