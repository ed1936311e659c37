#include "data_loader/dataset/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/file_system.h"
#include "data_loader/reading/checked_block_reader.h"

namespace muster {

namespace {

/// The bytes of a file that validate writes.
std::vector<std::byte> read_written(FileSystem& files, const std::filesystem::path& directory,
                                    const char* name) {
  const std::filesystem::path path = directory / name;
  if (!files.exists(path)) {
    throw Error(ErrorCode::kConfig,
                fmt::format("has no {}: run `muster validate {}`", name, directory.string()),
                directory.string());
  }
  return files.read(path);
}

/// Runs `parse` on what validate wrote: where it is damaged, validate is the cure, and no retry.
template <typename Parse>
auto parse_written(const std::filesystem::path& directory, const Parse& parse) -> decltype(parse()) {
  auto parsed = attempt(parse);
  if (parsed.ok()) return std::move(parsed).value();
  throw Error(ErrorCode::kData,
              fmt::format("{}; run `muster validate {}`", parsed.error().message(), directory.string()),
              parsed.error().where());
}

struct PartitionCheck {
  std::vector<std::uint32_t> unvouched;  ///< whose time alone is another
  std::vector<Dataset::Damage> damage;
};

PartitionCheck check_partitions(const Manifest& manifest, const std::vector<PartitionStamp>& stamps,
                                const std::filesystem::path& root, const std::filesystem::path& directory) {
  PartitionCheck check;
  for (std::size_t i = 0; i < manifest.partitions.size(); ++i) {
    const std::filesystem::path file = root / manifest.partitions[i].path;
    const auto match = attempt([&] { return stamps[i].match(file); });
    if (match.ok() && match.value() == PartitionStamp::Match::kNewTime)
      check.unvouched.push_back(static_cast<std::uint32_t>(i));
    if (match.ok() && match.value() != PartitionStamp::Match::kOther) continue;
    const std::string what = match.ok() ? "changed since the dataset was validated" : match.error().message();
    check.damage.push_back(
        {static_cast<std::uint32_t>(i),
         Error(match.ok() ? ErrorCode::kData : match.error().code(),
               fmt::format("{}; restore it, give its folder (data.root), or run `muster validate {}`", what,
                           directory.string()),
               file.string())});
  }
  return check;
}

IndexSidecar read_sidecar(FileSystem& files, const std::filesystem::path& directory,
                          const Sha256& fingerprint, std::size_t partitions) {
  const std::vector<std::byte> bytes = read_written(files, directory, "index.bin");
  IndexSidecar sidecar = parse_written(
      directory, [&] { return IndexSidecar::deserialize(bytes, (directory / "index.bin").string()); });
  if (sidecar.fingerprint != fingerprint || sidecar.partitions.size() != partitions) {
    throw Error(
        ErrorCode::kData,
        fmt::format("index.bin belongs to another manifest: run `muster validate {}`", directory.string()),
        directory.string());
  }
  return sidecar;
}

}  // namespace

/// The hashes of all blocks: read from index.bin when they are needed first, then kept. Thread-safe.
class BlockHashes {
 public:
  BlockHashes(std::filesystem::path directory, const Sha256& fingerprint, std::size_t partitions)
      : directory_(std::move(directory)), fingerprint_(fingerprint), partitions_(partitions) {}

  void keep(IndexSidecar sidecar) { sidecar_ = std::move(sidecar); }
  const std::vector<Sha256>& of(std::uint32_t partition) {
    const std::lock_guard lock(mutex_);
    if (!sidecar_) {
      auto read = attempt(
          [&] { return read_sidecar(*make_posix_file_system(), directory_, fingerprint_, partitions_); });
      if (!read)
        throw Error(ErrorCode::kData,
                    fmt::format("a partition has changed, and what was validated is not known any more: {}",
                                read.error().message()),
                    read.error().where());
      sidecar_ = std::move(read).value();
    }
    return sidecar_->partitions.at(partition).blocks;
  }

 private:
  std::filesystem::path directory_;
  Sha256 fingerprint_;
  std::size_t partitions_;
  std::mutex mutex_;
  std::optional<IndexSidecar> sidecar_;
};

Dataset Dataset::open(const std::filesystem::path& directory, const std::filesystem::path& root,
                      Damaged damaged) {
  const auto files = make_posix_file_system();
  const std::string where = directory.string();
  const auto refuse = [&](ErrorCode code, const std::string& message) { throw Error(code, message, where); };
  if (!files->exists(directory)) refuse(ErrorCode::kConfig, "there is no such dataset directory");
  if (!files->exists(directory / "contract.yaml")) {
    refuse(ErrorCode::kConfig,
           "has no contract.yaml, so it is no dataset; `muster generate` and `muster ingest` make one");
  }
  if (!files->exists(directory / "manifest.json")) {
    refuse(ErrorCode::kConfig, fmt::format("was never validated: run `muster validate {}`", where));
  }
  Dataset dataset;
  dataset.directory_ = directory;
  dataset.root_ = root.empty() ? directory : root;
  dataset.contract_ = Contract::load(directory / "contract.yaml");
  const std::string manifest_path = (directory / "manifest.json").string();
  const std::string manifest_text = files->read_text(manifest_path);
  dataset.manifest_ = parse_written(directory, [&] {
    return Manifest::from_json(parse_json(manifest_text, manifest_path), manifest_path);
  });
  const Manifest& manifest = dataset.manifest_;
  if (manifest.contract != dataset.contract_.hash()) {
    refuse(ErrorCode::kData,
           fmt::format("contract.yaml changed since the dataset was validated: run `muster validate {}`",
                       where));
  }
  const std::vector<std::byte> rows_bytes = read_written(*files, directory, "rows.bin");
  RowIndex rows = parse_written(directory, [&] {
    return RowIndex::deserialize(rows_bytes, manifest.blocks(), (directory / "rows.bin").string());
  });
  if (rows.hash() != manifest.row_index || rows.split_names() != dataset.contract_.split_names()) {
    refuse(ErrorCode::kData,
           fmt::format("rows.bin belongs to another manifest: run `muster validate {}`", where));
  }
  dataset.row_index_ = std::make_shared<const RowIndex>(std::move(rows));
  IndexSidecar sidecar = read_sidecar(*files, directory, manifest.fingerprint(), manifest.partitions.size());
  for (const IndexSidecar::Entry& entry : sidecar.partitions) dataset.stamps_.push_back(entry.stamp);
  PartitionCheck check = check_partitions(manifest, dataset.stamps_, dataset.root_, directory);
  if (damaged == Damaged::kRefuse && !check.damage.empty()) throw Error(check.damage.front().error);
  dataset.unvouched_ = std::move(check.unvouched);
  dataset.damage_ = std::move(check.damage);
  dataset.hashes_ =
      std::make_shared<BlockHashes>(directory, manifest.fingerprint(), manifest.partitions.size());
  if (!dataset.unvouched_.empty() || !dataset.damage_.empty()) dataset.hashes_->keep(std::move(sidecar));
  return dataset;
}

std::string Dataset::warning() const {
  const std::size_t count = unvouched_.size();
  if (count == 0) return "";
  const bool one = count == 1;
  return fmt::format(
      "{} partition{} changed {} time since the dataset was validated: what is read of {} is "
      "compared with {} hashes (`muster validate {}` ends that)",
      count, one ? "" : "s", one ? "its" : "their", one ? "it" : "them", one ? "its" : "their",
      directory_.string());
}

void Dataset::give_up(std::uint32_t partition) {
  const auto damaged = std::ranges::find(damage_, partition, &Damage::partition);
  ensure(damaged != damage_.end(), "partition {} is not damaged", partition);
  unreadable_.emplace(partition, damaged->error);
}

std::unique_ptr<BlockReader> Dataset::make_reader() const {
  auto reader = make_hdf5_block_reader(contract_, manifest_, root_);
  ValidatedPartitions validated;
  validated.stamps = stamps_;
  for (const Partition& partition : manifest_.partitions) validated.files.push_back(root_ / partition.path);
  validated.hashes = [hashes = hashes_](std::uint32_t partition) -> const std::vector<Sha256>& {
    return hashes->of(partition);
  };
  validated.unreadable = unreadable_;
  auto checked = make_checked_block_reader(std::move(reader), contract_, std::move(validated));
  return wrap_reader_ ? wrap_reader_(std::move(checked)) : std::move(checked);
}

}  // namespace muster
