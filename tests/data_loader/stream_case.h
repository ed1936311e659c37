#pragma once
// A data set in memory with its pipeline, and what its batches must hold, for tests of streams.

#include <memory>
#include <utility>
#include <vector>

#include "data_loader/stream/batch_stream.h"
#include "tests/data_loader/order_cases.h"
#include "tests/data_loader/random_columns.h"

namespace muster::testing {

inline const char* const kStreamFields =
    "  amount: {dtype: float32}\n"
    "  image: {dtype: uint8, shape: [3, 7]}\n"
    "  distance: {dtype: float64, missing: indicator}\n"
    "  label: {dtype: int32, role: label}\n"
    "  weight: {dtype: float32, role: weight}\n";

struct StreamCase {
  Contract contract;
  std::vector<std::vector<std::byte>> columns;
  std::unique_ptr<BlockReader> reader;
  FeaturePipeline pipeline;
};

/// Random values in these blocks; the pipeline is fitted to all rows.
inline StreamCase random_stream(const std::vector<Block>& blocks, RandomStream& random,
                                const char* fields = kStreamFields) {
  Contract contract = contract_of(fields);
  std::size_t rows = 0;
  for (const Block& block : blocks) rows += block.rows;
  std::vector<std::uint32_t> all(rows);
  for (std::uint32_t row = 0; row < rows; ++row) all[row] = row;
  std::vector<std::vector<std::byte>> columns;
  for (const Field& field : contract.fields()) columns.push_back(random_column(field, rows, random));
  const auto selected = FeaturePipeline::select(contract, {});
  std::vector<FieldSummary> summaries;
  for (const std::size_t i : FeaturePipeline::to_summarize(contract, selected)) {
    const Field& field = contract.fields()[i];
    summaries.push_back(FieldSummary::of(field, needs_of(field), columns[i], all));
  }
  auto pipeline = FeaturePipeline::fit(contract, selected, summaries);
  auto reader = make_memory_block_reader(contract, blocks, columns);
  return {std::move(contract), std::move(columns), std::move(reader), std::move(pipeline)};
}

/// A row of the data set: its block and its row in it.
struct Place {
  std::uint32_t block = 0;
  std::uint32_t row = 0;
};

/// The batch that holds these rows, made in the plainest way.
inline Batch plain_batch(StreamCase& it, const std::vector<Place>& rows, std::uint32_t first_position,
                         std::uint64_t step) {
  Batch batch(it.pipeline.tensors(), rows.size(), aligned_allocator());
  batch.set_rows(rows.size());
  batch.step = step;
  for (std::uint32_t i = 0; i < rows.size(); ++i) {
    const Block& block = it.reader->blocks()[rows[i].block];
    std::vector<std::vector<std::byte>> columns;
    for (const std::size_t field : it.pipeline.source_fields()) {
      columns.emplace_back(block.rows * it.contract.fields()[field].bytes_per_row());
      it.reader->read(rows[i].block, field, columns.back());
    }
    const std::vector<std::span<const std::byte>> sources(columns.begin(), columns.end());
    const FeaturePipeline::Target target{rows[i].row, i, &batch};
    it.pipeline.scatter(sources, {&target, 1});
    batch.ids()[i] = {block.partition, block.first_row + rows[i].row};
    batch.positions()[i] = first_position + i;
  }
  return batch;
}

/// Streams the whole plan with defaults for what a test does not say.
inline BatchStream make_stream(StreamCase& it, std::unique_ptr<BatchPlan> plan, StreamOptions options = {}) {
  return BatchStream(std::move(plan), *it.reader, it.contract, it.pipeline, options);
}

}  // namespace muster::testing
