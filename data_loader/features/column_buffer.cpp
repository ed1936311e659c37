#include "data_loader/features/column_buffer.h"

namespace muster {
namespace {

constexpr std::uint64_t kAlignment = 64;  // of each column

std::uint64_t padded(std::uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

std::uint64_t ColumnBuffer::bytes(const FeaturePipeline& pipeline, const Contract& contract,
                                  std::uint64_t rows) {
  std::uint64_t bytes = kAlignment;
  for (const std::size_t field : pipeline.source_fields())
    bytes += padded(contract.fields()[field].bytes_per_row() * rows);
  return bytes;
}

ColumnBuffer::ColumnBuffer(const FeaturePipeline& pipeline, const Contract& contract, std::uint64_t rows)
    : pipeline_(pipeline),
      contract_(contract),
      bytes_(bytes(pipeline, contract, rows)),
      columns_(pipeline.source_fields().size()) {}

void ColumnBuffer::read(BlockReader& reader, std::uint32_t block) {
  const auto address = reinterpret_cast<std::uintptr_t>(bytes_.data());
  std::byte* start = bytes_.data() + (padded(address) - address);
  const std::uint64_t rows = reader.blocks().at(block).rows;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const std::size_t field = pipeline_.source_fields()[i];
    const std::span<std::byte> column{start, contract_.fields()[field].bytes_per_row() * rows};
    reader.read(block, field, column);
    columns_[i] = column;
    start += padded(column.size());
  }
}

}  // namespace muster
