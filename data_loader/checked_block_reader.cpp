#include "data_loader/checked_block_reader.h"

#include <fmt/format.h>

#include "core/error.h"
#include "data_loader/partition_scan.h"

namespace muster {
namespace {

class CheckedBlockReader : public BlockReader {
 public:
  CheckedBlockReader(std::unique_ptr<BlockReader> reader, const Contract& contract, BlockHashes expected)
      : reader_(std::move(reader)), expected_(std::move(expected)), place_(contract.fields().size()) {
    for (const Field& field : contract.fields()) paths_.push_back(field.location());
    const std::vector<std::size_t> by_name = fields_by_name(contract);
    for (std::size_t place = 0; place < by_name.size(); ++place) place_[by_name[place]] = place;
    const std::vector<Block>& blocks = reader_->blocks();
    for (std::uint32_t block = 0; block < blocks.size(); ++block) {
      first_block_.try_emplace(blocks[block].partition, block);
    }
  }

  void read(std::uint32_t block, std::size_t field, std::span<std::byte> out) override {
    reader_->read(block, field, out);
    const Block& rows = reader_->blocks().at(block);
    const auto hashes = expected_.find(rows.partition);
    if (hashes == expected_.end()) return;
    const std::uint64_t in_partition = block - first_block_.at(rows.partition);
    if (hashes->second.at(in_partition * place_.size() + place_.at(field)) == sha256(out)) return;
    throw Error(ErrorCode::kData,
                "other values than those that were validated: restore the file, or run `muster validate`",
                fmt::format("{}:{}[{}..{}]", reader_->partition_name(rows.partition), paths_[field],
                            rows.first_row, rows.first_row + rows.rows - 1));
  }

  const std::vector<Block>& blocks() const override { return reader_->blocks(); }
  std::string partition_name(std::uint32_t partition) const override {
    return reader_->partition_name(partition);
  }

 private:
  std::unique_ptr<BlockReader> reader_;
  const BlockHashes expected_;
  std::vector<std::size_t> place_;  ///< of a field among the names
  std::vector<std::string> paths_;
  std::map<std::uint32_t, std::uint32_t> first_block_;  ///< of a partition
};

}  // namespace

std::unique_ptr<BlockReader> make_checked_block_reader(std::unique_ptr<BlockReader> reader,
                                                       const Contract& contract, BlockHashes expected) {
  return std::make_unique<CheckedBlockReader>(std::move(reader), contract, std::move(expected));
}

}  // namespace muster
