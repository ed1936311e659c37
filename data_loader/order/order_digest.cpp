#include "data_loader/order/order_digest.h"

#include <utility>

namespace muster {

Digest digest_of(std::span<const RowId> rows, std::uint64_t first_position) {
  Digest digest;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    digest += sample_hash(rows[i].partition, rows[i].row, first_position + i);
  }
  return digest;
}

StepRows::StepRows(const RowIndex& index, std::uint8_t split, EpochOrder order)
    : index_(index), split_(split), order_(std::move(order)), windows_(order_.settings().lanes) {}

std::vector<RowId> StepRows::rows(std::uint64_t step, LaneRange lanes) {
  const std::uint64_t per_step = order_.settings().batch_size / order_.settings().lanes;
  std::vector<RowId> rows;
  for (std::uint32_t lane = lanes.first; lane < lanes.last; ++lane) {
    const std::uint32_t count = order_.rows_in_step(step, lane);
    const auto windows = order_.windows(lane);
    std::uint32_t number = windows_[lane].number;
    for (std::uint64_t position = step * per_step; position < step * per_step + count; ++position) {
      while (position < windows[number].first_position) --number;
      while (position >= windows[number].first_position + windows[number].rows) ++number;
      rows.push_back(open(lane, number)[position - windows[number].first_position]);
    }
  }
  return rows;
}

Digest StepRows::digest(std::uint64_t step) { return digest_of(rows(step, {0, order_.settings().lanes})); }

const std::vector<RowId>& StepRows::open(std::uint32_t lane, std::uint32_t window) {
  OpenWindow& kept = windows_[lane];
  if (kept.open && kept.number == window) return kept.rows;
  kept = {true, window, {}};
  const Window& bounds = order_.windows(lane)[window];
  std::vector<RowId> laid_out;
  for (const Piece& piece :
       order_.pieces(lane).subspan(bounds.first_piece, bounds.last_piece - bounds.first_piece)) {
    const Block& block = index_.blocks()[piece.block];
    const auto rows = index_.rows_of(split_, piece.block);
    for (std::uint32_t i = piece.first; i < piece.first + piece.count; ++i) {
      laid_out.push_back({block.partition, block.first_row + rows[i]});
    }
  }
  for (const std::uint32_t row : order_.permutation(lane, window)) kept.rows.push_back(laid_out[row]);
  return kept.rows;
}

}  // namespace muster
