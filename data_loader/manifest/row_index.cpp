#include "data_loader/manifest/row_index.h"

#include <algorithm>

#include "core/error.h"
#include "core/text.h"
#include "data_loader/manifest/byte_io.h"

namespace muster {

namespace {

constexpr std::string_view kMagic = "MUSTROWS";
constexpr std::uint32_t kVersion = 1;

}  // namespace

RowIndex::RowIndex(std::vector<std::string> split_names, std::vector<Block> blocks)
    : split_names_(std::move(split_names)), blocks_(std::move(blocks)) {
  ensure(split_names_.size() < kNone, "a row index holds at most {} splits", kNone - 1);
  first_run_.reserve(blocks_.size() + 1);
  first_run_.push_back(0);
}

void RowIndex::append_block(std::span<const std::uint8_t> split_of_row) {
  const std::size_t block = first_run_.size() - 1;
  ensure(block < blocks_.size(), "the row index has its {} blocks already", blocks_.size());
  ensure(split_of_row.size() == blocks_[block].rows, "block {} has {} rows, not {}", block,
         blocks_[block].rows, split_of_row.size());
  for (std::size_t row = 0; row < split_of_row.size();) {
    const std::uint8_t split = split_of_row[row];
    ensure(split == kNone || split < split_names_.size(), "there is no split number {}", split);
    std::size_t end = row + 1;
    while (end < split_of_row.size() && split_of_row[end] == split) ++end;
    runs_.push_back({static_cast<std::uint32_t>(end - row), split});
    row = end;
  }
  first_run_.push_back(runs_.size());
}

std::uint8_t RowIndex::split(std::string_view name) const {
  const auto found = std::find(split_names_.begin(), split_names_.end(), name);
  if (found != split_names_.end()) return static_cast<std::uint8_t>(found - split_names_.begin());
  fail(ErrorCode::kConfig, "there is no split '{}'{}; the contract has: {}", name,
       did_you_mean(name, split_names_), join(split_names_, ", "));
}

std::vector<std::uint32_t> RowIndex::rows_per_block(std::uint8_t split) const {
  std::vector<std::uint32_t> rows(first_run_.size() - 1);
  for (std::size_t block = 0; block < rows.size(); ++block) {
    for (std::uint64_t run = first_run_[block]; run < first_run_[block + 1]; ++run) {
      if (runs_[run].split == split) rows[block] += runs_[run].rows;
    }
  }
  return rows;
}

std::uint64_t RowIndex::rows(std::uint8_t split) const {
  std::uint64_t rows = 0;
  for (const Run& run : runs_) rows += run.split == split ? run.rows : 0;
  return rows;
}

std::vector<std::uint32_t> RowIndex::rows_of(std::uint8_t split, std::uint32_t block) const {
  ensure(block + 1 < first_run_.size(), "the row index has no block {}", block);
  std::vector<std::uint32_t> rows;
  std::uint32_t row = 0;
  for (std::uint64_t run = first_run_[block]; run < first_run_[block + 1]; ++run) {
    const std::uint32_t end = row + runs_[run].rows;
    if (runs_[run].split == split) {
      for (; row < end; ++row) rows.push_back(row);
    }
    row = end;
  }
  return rows;
}

std::vector<std::byte> RowIndex::serialize() const {
  ensure(first_run_.size() == blocks_.size() + 1, "the row index lacks blocks");
  ByteWriter out(kMagic, kVersion);
  out.u32(static_cast<std::uint32_t>(split_names_.size()));
  for (const std::string& name : split_names_) out.text(name);
  out.u64(blocks_.size());
  for (const Run& run : runs_) {
    out.varint(run.rows);
    out.u8(run.split);
  }
  return std::move(out).finish();
}

RowIndex RowIndex::deserialize(std::span<const std::byte> bytes, std::vector<Block> blocks,
                               const std::string& where) {
  ByteReader in(bytes, kMagic, kVersion, where);
  const std::uint32_t splits = in.u32();
  if (splits >= kNone) in.damaged("it declares too many splits");
  std::vector<std::string> names;
  for (std::uint32_t i = 0; i < splits; ++i) names.push_back(in.text());
  if (const std::uint64_t count = in.u64(); count != blocks.size()) {
    in.damaged(fmt::format("it holds {} blocks, the manifest {}", count, blocks.size()));
  }
  RowIndex index(std::move(names), std::move(blocks));
  for (const Block& block : index.blocks_) {
    for (std::uint64_t rows = 0; rows < block.rows;) {
      const std::uint64_t run = in.varint();
      const std::uint8_t split = in.u8();
      if (run == 0 || run > block.rows - rows) in.damaged("a run crosses its block");
      if (split != kNone && split >= splits) in.damaged("a run names an unknown split");
      index.runs_.push_back({static_cast<std::uint32_t>(run), split});
      rows += run;
    }
    index.first_run_.push_back(index.runs_.size());
  }
  in.finish();
  return index;
}

Sha256 RowIndex::hash() const {
  const std::vector<std::byte> bytes = serialize();
  Sha256 hash;
  std::transform(bytes.end() - 32, bytes.end(), hash.bytes.begin(),
                 [](std::byte b) { return static_cast<std::uint8_t>(b); });
  return hash;
}

}  // namespace muster
