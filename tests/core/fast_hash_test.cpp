#include "core/fast_hash.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace muster {
namespace {

TEST(FastHash, OfNothingIsTheOneInTheSpecification) {
  EXPECT_EQ(FastHasher().hex(), "99aa06d3014798d86001c324468d497f");  // XXH128 of "", seed 0
}

TEST(FastHash, PiecesAreOneTextAndEveryBitCounts) {
  std::mt19937 random(1);
  std::vector<std::byte> bytes(5000);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  const std::string whole = FastHasher().update(bytes).hex();
  FastHasher pieces;
  for (std::size_t first = 0; first < bytes.size();) {
    const std::size_t count = std::min<std::size_t>(random() % 700, bytes.size() - first);
    pieces.update(std::span(bytes).subspan(first, count));
    first += count;
  }
  EXPECT_EQ(pieces.hex(), whole);
  std::set<std::string> seen = {whole};
  for (std::size_t bit = 0; bit < 8 * bytes.size(); bit += 37) {
    bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_TRUE(seen.insert(FastHasher().update(bytes).hex()).second) << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
  }
}

}  // namespace
}  // namespace muster
