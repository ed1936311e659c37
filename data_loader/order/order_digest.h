#pragma once
// The rows of a step by name, and the step's digest: what `muster order` prints and what a real run must have
// consumed.

#include <cstdint>
#include <span>
#include <vector>

#include "core/hash.h"
#include "data_loader/contract/batch.h"
#include "data_loader/manifest/row_index.h"
#include "data_loader/order/sample_order.h"

namespace muster {

/// Digest of rows at positions `first_position`, `first_position` + 1, … of a global batch. The digest of a
/// step is the sum over its ranks.
Digest digest_of(std::span<const RowId> rows, std::uint64_t first_position = 0);

/// Names the rows of an epoch's steps. Keeps the windows it was last asked for, so that steps asked for in
/// order cost no second shuffle. Not thread-safe; `index` outlives it.
class StepRows {
 public:
  StepRows(const RowIndex& index, std::uint8_t split, EpochOrder order);

  const EpochOrder& order() const { return order_; }
  /// Partition and row in its file of the rows that `lanes` give to `step`, in position order.
  std::vector<RowId> rows(std::uint64_t step, LaneRange lanes);
  /// The digest of the whole step.
  Digest digest(std::uint64_t step);

 private:
  struct OpenWindow {
    bool open = false;
    std::uint32_t number = 0;
    std::vector<RowId> rows;
  };
  const std::vector<RowId>& open(std::uint32_t lane, std::uint32_t window);

  const RowIndex& index_;
  std::uint8_t split_;
  EpochOrder order_;
  std::vector<OpenWindow> windows_;  ///< one a lane
};

}  // namespace muster
