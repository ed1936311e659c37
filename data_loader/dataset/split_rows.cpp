#include "data_loader/dataset/split_rows.h"

#include <utility>

#include "core/error.h"

namespace muster {

SplitRows::SplitRows(BlockReader& reader, const Contract& contract, const RowIndex& index, std::uint8_t split,
                     std::vector<std::size_t> fields)
    : reader_(reader),
      contract_(contract),
      index_(index),
      split_(split),
      fields_(std::move(fields)),
      block_columns_(fields_.size()),
      columns_(fields_.size()) {}

void SplitRows::open_block() {
  while (done_ == rows_.size()) {
    ensure(next_block_ < reader_.blocks().size(), "the split has no more rows");
    rows_ = index_.rows_of(split_, next_block_);
    done_ = 0;
    const std::uint32_t block = next_block_++;
    if (rows_.empty()) continue;
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      block_columns_[i].resize(reader_.blocks()[block].rows * contract_.fields()[fields_[i]].bytes_per_row());
      reader_.read(block, fields_[i], block_columns_[i]);
    }
  }
}

void SplitRows::next(std::uint64_t rows) {
  ids_.clear();
  for (std::vector<std::byte>& column : columns_) column.clear();
  while (ids_.size() < rows) {
    open_block();
    const Block& block = reader_.blocks()[next_block_ - 1];
    for (; done_ < rows_.size() && ids_.size() < rows; ++done_) {
      const std::uint32_t row = rows_[done_];
      ids_.push_back({block.partition, block.first_row + row});
      for (std::size_t i = 0; i < fields_.size(); ++i) {
        const std::uint64_t bytes = contract_.fields()[fields_[i]].bytes_per_row();
        const auto from = block_columns_[i].begin() + static_cast<std::ptrdiff_t>(row * bytes);
        columns_[i].insert(columns_[i].end(), from, from + static_cast<std::ptrdiff_t>(bytes));
      }
    }
  }
}

}  // namespace muster
