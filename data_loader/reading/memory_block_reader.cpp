#include <algorithm>

#include "data_loader/reading/block_reader.h"

namespace muster {
namespace {

/// Immutable once made, hence thread-safe.
class MemoryBlockReader : public BlockReader {
 public:
  MemoryBlockReader(const Contract& contract, std::vector<Block> blocks,
                    std::vector<std::vector<std::byte>> columns)
      : blocks_(std::move(blocks)), columns_(std::move(columns)) {
    std::uint64_t rows = 0;
    for (const Block& block : blocks_) {
      starts_.push_back(rows);
      rows += block.rows;
    }
    const std::vector<Field>& fields = contract.fields();
    ensure(columns_.size() == fields.size(), "{} columns for {} fields", columns_.size(), fields.size());
    for (std::size_t i = 0; i < fields.size(); ++i) {
      bytes_per_row_.push_back(fields[i].bytes_per_row());
      ensure(columns_[i].size() == rows * bytes_per_row_[i], "{} bytes for {} rows of '{}'",
             columns_[i].size(), rows, fields[i].name);
    }
  }

  void read(std::uint32_t block, std::size_t field, std::span<std::byte> out) override {
    ensure(block < blocks_.size() && field < columns_.size(), "there is no block {} of field {}", block,
           field);
    const std::uint64_t row = bytes_per_row_[field];
    ensure(out.size() == blocks_[block].rows * row, "{} bytes for {} rows of {}", out.size(),
           blocks_[block].rows, row);
    std::copy_n(columns_[field].begin() + static_cast<std::ptrdiff_t>(starts_[block] * row), out.size(),
                out.begin());
  }

  const std::vector<Block>& blocks() const override { return blocks_; }

 private:
  std::vector<Block> blocks_;
  std::vector<std::vector<std::byte>> columns_;
  std::vector<std::uint64_t> starts_;  ///< first row of each block in the columns
  std::vector<std::uint64_t> bytes_per_row_;
};

}  // namespace

std::unique_ptr<BlockReader> make_memory_block_reader(const Contract& contract, std::vector<Block> blocks,
                                                      std::vector<std::vector<std::byte>> columns) {
  return std::make_unique<MemoryBlockReader>(contract, std::move(blocks), std::move(columns));
}

}  // namespace muster
