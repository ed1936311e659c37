#include "data_loader/reading/checked_block_reader.h"

#include <fmt/format.h>

#include <map>

#include "core/error.h"

namespace muster {
namespace {

class CheckedBlockReader : public BlockReader {
 public:
  CheckedBlockReader(std::unique_ptr<BlockReader> reader, const Contract& contract,
                     ValidatedPartitions validated)
      : reader_(std::move(reader)), validated_(std::move(validated)), place_(contract.fields().size()) {
    for (const Field& field : contract.fields()) paths_.push_back(field.location());
    const std::vector<std::size_t> by_name = fields_by_name(contract);
    for (std::size_t place = 0; place < by_name.size(); ++place) place_[by_name[place]] = place;
    const std::vector<Block>& blocks = reader_->blocks();
    for (std::uint32_t block = 0; block < blocks.size(); ++block) {
      first_block_.try_emplace(blocks[block].partition, block);
    }
  }

  void read(std::uint32_t block, std::size_t field, std::span<std::byte> out) override {
    const Block& rows = reader_->blocks().at(block);
    if (const auto unreadable = validated_.unreadable.find(rows.partition);
        unreadable != validated_.unreadable.end())
      throw Error(unreadable->second);
    reader_->read(block, field, out);
    // Looked at after the read: who wrote meanwhile has changed the time.
    if (validated_.stamps.at(rows.partition).vouches_for(validated_.files.at(rows.partition))) return;
    const std::uint64_t in_partition = block - first_block_.at(rows.partition);
    if (validated_.hashes(rows.partition).at(in_partition * place_.size() + place_.at(field)) == sha256(out))
      return;
    reader_->forget(rows.partition);  // with what it may have kept of it
    throw Error(ErrorCode::kData,
                "other values than those that were validated: restore the file, or run `muster validate`",
                fmt::format("{}:{}[{}..{}]", reader_->partition_name(rows.partition), paths_[field],
                            rows.first_row, rows.first_row + rows.rows - 1));
  }

  void forget(std::uint32_t partition) override { reader_->forget(partition); }
  const std::vector<Block>& blocks() const override { return reader_->blocks(); }
  std::string partition_name(std::uint32_t partition) const override {
    return reader_->partition_name(partition);
  }

 private:
  std::unique_ptr<BlockReader> reader_;
  const ValidatedPartitions validated_;
  std::vector<std::size_t> place_;  ///< of a field among the names
  std::vector<std::string> paths_;
  std::map<std::uint32_t, std::uint32_t> first_block_;  ///< of a partition
};

}  // namespace

std::unique_ptr<BlockReader> make_checked_block_reader(std::unique_ptr<BlockReader> reader,
                                                       const Contract& contract,
                                                       ValidatedPartitions validated) {
  return std::make_unique<CheckedBlockReader>(std::move(reader), contract, std::move(validated));
}

}  // namespace muster
