#include "trainer/checkpoint/checkpoint_reader.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <numeric>
#include <utility>

#include "core/cores.h"
#include "core/hash.h"
#include "core/text.h"
#include "trainer/checkpoint/checkpoint_manifest.h"
#include "trainer/checkpoint/checkpoint_part.h"

namespace muster {
namespace {

constexpr const char* kManifest = "manifest.json";
constexpr std::uint64_t kWorthThreads = std::uint64_t{1} << 20;

CheckpointInfo read_manifest(FileSystem& files, const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / kManifest;
  const std::string where = path.string();
  CheckpointInfo info;
  info.directory = directory;
  info.manifest = unseal(files.read_text(path), where);
  const auto format = member<std::int64_t>(info.manifest, "format", where);
  if (format < 1 || format > kCheckpointFormat) {
    throw Error(ErrorCode::kStorage,
                fmt::format("has format {}; this version reads formats up to {}: use the version of Muster "
                            "that wrote it, or a later one",
                            format, kCheckpointFormat),
                where);
  }
  info.generation = member<std::uint64_t>(info.manifest, "generation", where);
  info.step = member<std::uint64_t>(info.manifest, "step", where);
  info.name = CheckpointName{info.generation, info.step}.text();
  info.parent = member<std::string>(info.manifest, "parent", where);
  info.run_id = member<std::string>(info.manifest, "run_id", where);
  return info;
}

using StampedFiles = std::vector<std::pair<std::string, FileStamp>>;

/// Calls `visit(i)` for each of the files, on as many threads as there are cores where that is worth it. The
/// Error of the lowest i is thrown.
void each_in_parallel(const StampedFiles& listed, const std::function<void(std::size_t)>& visit) {
  const std::size_t count = listed.size();
  const auto bytes = std::accumulate(listed.begin(), listed.end(), std::uint64_t{0},
                                     [](auto sum, const auto& file) { return sum + file.second.size; });
  const std::size_t threads = bytes < kWorthThreads ? 1 : std::min<std::size_t>(count, usable_cores());
  std::vector<std::optional<Error>> errors(count);
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) {
      if (const auto visited = attempt([&] { return visit(i), true; }); !visited) errors[i] = visited.error();
    }
  };
  std::vector<std::future<void>> helpers;
  for (std::size_t helper = 1; helper < threads; ++helper)
    helpers.push_back(std::async(std::launch::async, work));
  work();
  for (auto& helper : helpers) helper.get();
  for (const auto& error : errors) {
    if (error) throw Error(*error);
  }
}

StampedFiles stamped_files(const CheckpointInfo& info) {
  const auto listed = listed_files(info.manifest, (info.directory / kManifest).string());
  return {listed.begin(), listed.end()};
}

CheckpointInfo verify(FileSystem& files, const std::filesystem::path& directory) {
  CheckpointInfo info = read_manifest(files, directory);
  const StampedFiles listed = stamped_files(info);
  each_in_parallel(listed, [&](std::size_t i) {
    check_file(files, directory / listed[i].first, listed[i].second, false);
  });
  return info;
}

/// What is parsed is what was hashed: the file is read once.
std::vector<std::byte> read_checked(FileSystem& files, const std::filesystem::path& path,
                                    const FileStamp& stamp) {
  std::vector<std::byte> bytes = files.read(path);
  if (bytes.size() == stamp.size && sha256(bytes).hex() == stamp.sha256) return bytes;
  throw Error(ErrorCode::kStorage, "is damaged: its content does not fit its manifest", path.string());
}

CheckpointContent load(FileSystem& files, const std::filesystem::path& directory) {
  const CheckpointInfo info = read_manifest(files, directory);
  const StampedFiles listed = stamped_files(info);
  CheckpointContent content;
  std::vector<std::vector<TensorBlob>> tensors(listed.size());
  each_in_parallel(listed, [&](std::size_t i) {
    const auto& [name, stamp] = listed[i];
    const std::vector<std::byte> bytes = read_checked(files, directory / name, stamp);
    const std::string where = (directory / name).string();
    const auto text = [&] { return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()); };
    if (name.ends_with(".safetensors")) tensors[i] = parse_safetensors(bytes, where);
    if (name == "pipeline.json") content.pipeline = parse_json(text(), where);
    if (name == "contract.yaml") content.contract_yaml = text();
  });
  for (std::size_t i = 0; i < listed.size(); ++i) {
    auto& into = listed[i].first.starts_with("optimizer-") ? content.optimizer : content.model;
    std::move(tensors[i].begin(), tensors[i].end(), std::back_inserter(into));
  }
  content.step = info.step;
  content.state = member<Json>(info.manifest, "state", (directory / kManifest).string());
  return content;
}

}  // namespace

Result<CheckpointInfo> verify_checkpoint(FileSystem& files, const std::filesystem::path& directory) {
  return attempt([&] { return verify(files, directory); });
}

Result<CheckpointContent> load_checkpoint(FileSystem& files, const std::filesystem::path& directory) {
  return attempt([&] { return load(files, directory); });
}

}  // namespace muster
