#include "data_loader/scored_rows.h"

#include "core/error.h"
#include "data_loader/missing_rows.h"

namespace muster {

std::vector<std::uint8_t> splits_of_scored_rows(BlockReader& reader, const Contract& contract,
                                                std::span<const std::size_t> fields, std::uint32_t first,
                                                std::uint32_t last) {
  std::vector<std::uint8_t> splits;
  std::vector<std::byte> column;
  for (std::uint32_t block = first; block < last; ++block) {
    const std::uint32_t rows = reader.blocks().at(block).rows;
    const std::size_t start = splits.size();
    splits.resize(start + rows, 0);
    for (const std::size_t number : fields) {
      const Field& field = contract.fields().at(number);
      if (field.missing != Missing::kDrop) continue;
      column.resize(rows * field.bytes_per_row());
      reader.read(block, number, column);
      const std::vector<bool> missing = missing_rows(field, column, rows);
      for (std::uint32_t row = 0; row < rows; ++row) {
        if (missing[row]) splits[start + row] = RowIndex::kNone;
      }
    }
  }
  return splits;
}

RowIndex index_of_scored_rows(const std::vector<Block>& blocks, std::span<const std::uint8_t> splits) {
  RowIndex index({"all"}, blocks);
  std::size_t done = 0;
  for (const Block& block : blocks) {
    ensure(splits.size() - done >= block.rows, "fewer rows than the blocks have");
    index.append_block(splits.subspan(done, block.rows));
    done += block.rows;
  }
  ensure(done == splits.size(), "more rows than the blocks have");
  return index;
}

}  // namespace muster
