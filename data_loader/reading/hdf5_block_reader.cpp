#include <fmt/format.h>
#include <sys/stat.h>

#include <list>
#include <mutex>
#include <unordered_map>

#include "data_loader/reading/block_reader.h"
#include "data_loader/reading/partition_file.h"

namespace muster {
namespace {

constexpr std::uint64_t kMostCacheBytes = std::uint64_t{32} << 20;

/// One mutex for the open files and the reads: libhdf5 would let only one thread through anyway.
class Hdf5BlockReader : public BlockReader {
 public:
  Hdf5BlockReader(const Contract& contract, const Manifest& manifest, const std::filesystem::path& root,
                  std::size_t max_open_files)
      : fields_(contract.fields()), blocks_(manifest.blocks()), max_open_files_(max_open_files) {
    ensure(max_open_files_ > 0, "a reader needs at least one open file");
    for (const Partition& partition : manifest.partitions) {
      partitions_.push_back({root / partition.path, partition.rows});
    }
  }

  void read(std::uint32_t block, std::size_t field, std::span<std::byte> out) override {
    ensure(block < blocks_.size() && field < fields_.size(), "there is no block {} of field {}", block,
           field);
    const Block& rows = blocks_[block];
    const std::lock_guard lock(mutex_);
    OpenPartition& open = opened(rows.partition);
    try {
      if (!open.checked[field]) check(open, rows.partition, field);
      const std::uint64_t cached = open.file.cache_bytes();
      open.file.read_rows(fields_[field], rows.first_row, rows.rows, out);
      if (open.file.cache_bytes() > cached) keep_to_cache_bound();
    } catch (...) {
      close(rows.partition);  // who tries again opens it again: it may have been mended
      throw;
    }
  }

  void forget(std::uint32_t partition) override {
    const std::lock_guard lock(mutex_);
    close(partition);
  }

  const std::vector<Block>& blocks() const override { return blocks_; }
  std::string partition_name(std::uint32_t partition) const override {
    return partitions_.at(partition).path.string();
  }

 private:
  struct Known {
    std::filesystem::path path;
    std::uint64_t rows;
  };
  /// Which file a path leads to; another one where somebody has replaced it.
  struct Identity {
    dev_t device = 0;
    ino_t inode = 0;
    bool operator==(const Identity&) const = default;
  };
  static Identity identity_of(const std::filesystem::path& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 ? Identity{status.st_dev, status.st_ino} : Identity{};
  }
  struct OpenPartition {
    std::uint32_t number;
    Identity identity;
    PartitionFile file;
    std::vector<bool> checked;  ///< per field
  };

  /// The open file of a partition, now the latest used; the one unused for longest makes room for it.
  OpenPartition& opened(std::uint32_t partition) {
    const Identity identity = identity_of(partitions_[partition].path);
    if (const auto found = by_number_.find(partition);
        found != by_number_.end() && !(found->second->identity == identity))
      close(partition);
    if (const auto found = by_number_.find(partition); found != by_number_.end()) {
      latest_first_.splice(latest_first_.begin(), latest_first_, found->second);
      return latest_first_.front();
    }
    if (latest_first_.size() == max_open_files_) {
      by_number_.erase(latest_first_.back().number);
      latest_first_.pop_back();
    }
    latest_first_.push_front({partition, identity, PartitionFile(partitions_[partition].path),
                              std::vector<bool>(fields_.size(), false)});
    by_number_.emplace(partition, latest_first_.begin());
    return latest_first_.front();
  }

  void close(std::uint32_t partition) {
    const auto found = by_number_.find(partition);
    if (found == by_number_.end()) return;
    latest_first_.erase(found->second);
    by_number_.erase(found);
  }

  /// Closes files unused for longest, but for the latest, while the library may keep too many of their
  /// chunks.
  void keep_to_cache_bound() {
    const auto cached = [&] {
      std::uint64_t bytes = 0;
      for (const OpenPartition& open : latest_first_) bytes += open.file.cache_bytes();
      return bytes;
    };
    while (latest_first_.size() > 1 && cached() > kMostCacheBytes) {
      by_number_.erase(latest_first_.back().number);
      latest_first_.pop_back();
    }
  }

  void check(OpenPartition& open, std::uint32_t partition, std::size_t field) {
    const std::uint64_t found = open.file.check_field(fields_[field]);
    const Known& known = partitions_[partition];
    if (found != known.rows) {
      throw Error(ErrorCode::kData,
                  fmt::format("has {} rows, the manifest says {}: did it change? run muster validate", found,
                              known.rows),
                  known.path.string() + ":" + fields_[field].path);
    }
    open.checked[field] = true;
  }

  const std::vector<Field> fields_;
  const std::vector<Block> blocks_;
  const std::size_t max_open_files_;
  std::vector<Known> partitions_;
  std::mutex mutex_;
  std::list<OpenPartition> latest_first_;
  std::unordered_map<std::uint32_t, std::list<OpenPartition>::iterator> by_number_;
};

}  // namespace

std::unique_ptr<BlockReader> make_hdf5_block_reader(const Contract& contract, const Manifest& manifest,
                                                    const std::filesystem::path& root,
                                                    std::size_t max_open_files) {
  return std::make_unique<Hdf5BlockReader>(contract, manifest, root, max_open_files);
}

}  // namespace muster
