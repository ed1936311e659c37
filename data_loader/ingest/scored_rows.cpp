#include "data_loader/ingest/scored_rows.h"

#include "data_loader/dataset/missing_rows.h"

namespace muster {

RowIndex index_scored_rows(BlockReader& reader, const Contract& contract,
                           std::span<const std::size_t> fields) {
  RowIndex index({"all"}, reader.blocks());
  std::vector<std::byte> column;
  for (std::uint32_t block = 0; block < reader.blocks().size(); ++block) {
    const std::uint32_t rows = reader.blocks()[block].rows;
    std::vector<std::uint8_t> splits(rows, 0);
    for (const std::size_t number : fields) {
      const Field& field = contract.fields().at(number);
      if (field.missing != Missing::kDrop) continue;
      column.resize(rows * field.bytes_per_row());
      reader.read(block, number, column);
      const std::vector<bool> missing = missing_rows(field, column, rows);
      for (std::uint32_t row = 0; row < rows; ++row) {
        if (missing[row]) splits[row] = RowIndex::kNone;
      }
    }
    index.append_block(splits);
  }
  return index;
}

}  // namespace muster
