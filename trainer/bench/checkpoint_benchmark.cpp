#include "trainer/bench/checkpoint_benchmark.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/hash.h"
#include "core/random.h"
#include "core/temporary_directory.h"
#include "trainer/checkpoint/checkpoint_part.h"
#include "trainer/comm/agreement.h"
#include "trainer/comm/benchmark_times.h"

namespace muster {
namespace {

constexpr std::uint64_t kTensorBytes = std::uint64_t{16} << 20;
constexpr std::uint64_t kFileTensors = 4;

TensorBlob random_tensor(std::uint64_t number, std::uint64_t bytes, RandomStream& random) {
  TensorBlob tensor{"tensor_" + std::to_string(number), "U8", {static_cast<std::int64_t>(bytes)}, {}};
  tensor.data.resize(bytes);
  for (std::uint64_t at = 0; at < bytes; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(tensor.data.data() + at, &word, std::min<std::uint64_t>(sizeof word, bytes - at));
  }
  return tensor;
}

/// As a rank's share of a model's state: tensors in several files.
std::vector<CheckpointFile> random_files(int rank, std::uint64_t bytes) {
  RandomStream random(random_key(1, Purpose::kGenerate, {static_cast<std::uint64_t>(rank)}));
  std::vector<CheckpointFile> files;
  std::uint64_t number = 0;
  while (bytes > 0) {
    if (number % kFileTensors == 0)
      files.push_back({fmt::format("rank-{}-{}.safetensors", rank, files.size()), {}, {}});
    const std::uint64_t size = std::min(bytes, kTensorBytes);
    files.back().tensors.push_back(random_tensor(number++, size, random));
    bytes -= size;
  }
  return files;
}

double seconds_of(const std::function<void()>& work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

/// One rank's files, and each way to handle them.
class Share {
 public:
  Share(FileSystem& files, std::filesystem::path directory, int rank, std::uint64_t bytes)
      : files_(files), directory_(files, std::move(directory)), content_(random_files(rank, bytes)) {}

  void copy() { copy_ = content_; }
  void write() {
    for (const CheckpointFile& file : content_)
      stamps_[file.name] = write_file(files_, directory_.path() / file.name, file);
    files_.sync_directory(directory_.path());
  }
  void verify() {
    for (const auto& [name, stamp] : stamps_) check_file(files_, directory_.path() / name, stamp, true);
  }
  void write_plainly() {
    for (const CheckpointFile& file : content_) {
      const auto out = files_.create(directory_.path() / (file.name + ".plain"));
      for (const TensorBlob& tensor : file.tensors) out->append(std::span<const std::byte>(tensor.data));
      out->sync();
    }
    files_.sync_directory(directory_.path());
  }
  void hash() {
    Sha256Hasher hasher;
    for (const CheckpointFile& file : content_) {
      for (const TensorBlob& tensor : file.tensors) hasher.update(tensor.data);
    }
    static_cast<void>(hasher.finish());
  }
  void remove() {
    for (const CheckpointFile& file : content_) {
      files_.remove_all(directory_.path() / file.name);
      files_.remove_all(directory_.path() / (file.name + ".plain"));
    }
  }

 private:
  FileSystem& files_;
  TemporaryDirectory directory_;
  std::vector<CheckpointFile> content_;
  std::vector<CheckpointFile> copy_;
  FileStamps stamps_;
};

}  // namespace

Json benchmark_checkpoint(Communicator& comm, FileSystem& files, const CheckpointBenchmarkOptions& options) {
  const std::filesystem::path directory =
      options.directory / (".muster-bench-checkpoint-" + std::to_string(comm.rank()));
  const auto ranks = static_cast<std::uint64_t>(comm.size());
  const auto share = together(comm, "bench", [&] {
    return std::make_unique<Share>(files, directory, comm.rank(), options.bytes / ranks);
  });
  std::map<std::string, std::vector<double>> seconds;
  const auto measure = [&](const std::string& name, void (Share::*work)()) {
    const double mine = together(comm, name, [&] { return seconds_of([&] { ((*share).*work)(); }); });
    seconds[name].push_back(slowest(comm, mine));
  };
  for (std::uint64_t round = 0; round <= options.rounds; ++round) {
    measure("copy_seconds", &Share::copy);
    measure("hash_seconds", &Share::hash);
    // In turns first, and each after the other's files are gone: what a disk has still to do is everybody's.
    for (const bool plainly : {round % 2 == 0, round % 2 == 1}) {
      if (plainly) {
        measure("plain_seconds", &Share::write_plainly);
      } else {
        measure("write_seconds", &Share::write);
        measure("verify_seconds", &Share::verify);
      }
      together(comm, "remove", [&] { return share->remove(), true; });
    }
    if (round == 0) seconds.clear();  // the first one warms up
  }
  Json result = {{"ranks", comm.size()}, {"bytes", options.bytes}};
  for (const auto& [name, values] : seconds) result[name] = median(values);
  const double plain = result.at("plain_seconds");
  const double write = result.at("write_seconds");
  result["ratio_to_plain"] = write / plain;
  result["ratio_to_limit"] = write / std::max(plain, result.at("hash_seconds").get<double>());
  return result;
}

}  // namespace muster
