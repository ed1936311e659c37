#pragma once
// Which tables of embeddings have sparse gradients.

#include <cstdint>

namespace muster {

/// For EmbeddingOptions::sparse: a table so large that a gradient of only the rows that a step touched is
/// worth its trouble: ranks exchange those (trainer/gradients/gradient_reducer.h). Not for a table that is a
/// layer's weight, too: its gradient has all rows.
constexpr bool has_sparse_gradients(std::int64_t ids, std::int64_t width) {
  constexpr std::int64_t kLeastFloats = std::int64_t{1} << 18;  // 1 MiB
  return ids * width >= kLeastFloats;
}

}  // namespace muster
