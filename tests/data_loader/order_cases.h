#pragma once
// Random data sets, splits and orders for property tests, and the count of the edges that they hit.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "data_loader/manifest/row_index.h"
#include "data_loader/order/sample_order.h"

namespace muster::testing {

/// 3,000 cases, or 30,000 where MUSTER_TEST_FULL=1.
inline int case_count() {
  const char* full = std::getenv("MUSTER_TEST_FULL");
  return full != nullptr && std::string_view(full) == "1" ? 30000 : 3000;
}

/// How often each edge was hit.
class Edges {
 public:
  void hit(const std::string& edge, bool happened) { hits_[edge] += happened ? 1 : 0; }

  void expect_all_hit() const {
    for (const auto& [edge, count] : hits_) {
      std::cout << "  " << edge << ": " << count << '\n';
      EXPECT_GT(count, 0) << "no case hit the edge '" << edge << "'";
    }
  }

 private:
  std::map<std::string, long> hits_;
};

/// A data set with a split, and an order of it.
struct OrderCase {
  RowIndex index;
  OrderSettings settings;
  std::uint32_t world = 1;  ///< ranks, at most lanes

  std::vector<std::uint32_t> counts() const { return index.rows_per_block(0); }
};

inline std::vector<Block> random_blocks(RandomStream& random) {
  std::vector<Block> blocks;
  const auto partitions = static_cast<std::uint32_t>(1 + random.below(6));
  for (std::uint32_t partition = 0; partition < partitions; ++partition) {
    const std::uint64_t rows = random.below(5) == 0 ? 0
                                                    : random.below(random.below(2) == 0    ? 10
                                                                   : random.below(10) == 0 ? 800
                                                                                           : 120);
    const std::uint64_t block_rows = 1 + random.below(random.below(3) == 0 ? 3 : 40);
    for (std::uint64_t first = 0; first < rows; first += block_rows) {
      blocks.push_back({partition, first, static_cast<std::uint32_t>(std::min(block_rows, rows - first))});
    }
  }
  return blocks;
}

/// Split 0 of every row: all, none, one row, a fraction, or an interval of rows in data set order (as a time
/// split has).
inline RowIndex random_split(RandomStream& random, const std::vector<Block>& blocks) {
  std::uint64_t rows = 0;
  for (const Block& block : blocks) rows += block.rows;
  std::uint64_t from = 0;
  std::uint64_t until = rows;
  double fraction = 1;
  const std::uint64_t kind = random.below(20);
  if (kind == 0) until = 0;
  if (kind == 1) from = random.below(rows + 1), until = from + 1;
  if (kind >= 2 && kind < 8) fraction = random.uniform();
  if (kind >= 8 && kind < 13) from = random.below(rows + 1), until = from + random.below(rows + 1);
  RowIndex index({"train", "test"}, blocks);
  std::uint64_t row = 0;
  for (const Block& block : blocks) {
    std::vector<std::uint8_t> split(block.rows);
    for (auto& name : split) {
      const bool chosen = row >= from && row < until && random.uniform() < fraction;
      name = chosen ? 0 : random.below(2) == 0 ? 1 : RowIndex::kNone;
      ++row;
    }
    index.append_block(split);
  }
  return index;
}

inline OrderCase random_case(RandomStream& random) {
  RowIndex index = random_split(random, random_blocks(random));
  OrderSettings settings;
  settings.seed = random();
  settings.lanes = static_cast<std::uint32_t>(1 + random.below(random.below(2) == 0 ? 6 : 64));
  settings.batch_size = settings.lanes * static_cast<std::uint32_t>(1 + random.below(8));
  settings.window = static_cast<std::uint32_t>(random.below(8) == 0 ? 1000 : 1 + random.below(6));
  const std::uint32_t most = std::min<std::uint32_t>(16, settings.lanes);
  const auto world = static_cast<std::uint32_t>(random.below(6) == 0 ? most : 1 + random.below(most));
  return {std::move(index), settings, world};
}

}  // namespace muster::testing
