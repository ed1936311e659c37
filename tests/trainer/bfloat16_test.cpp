// Rounding to bfloat16 beside LibTorch's own.
#include "trainer/comm/bfloat16.h"

#include <c10/util/BFloat16.h>
#include <gtest/gtest.h>

#include <cmath>

namespace muster {
namespace {

TEST(Bfloat16Test, RoundsAsLibTorchDoes) {
  int nans = 0, infinite = 0, ties = 0;
  for (std::uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (const std::uint32_t lower : {0x0000U, 0x0001U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU}) {
      const auto value = std::bit_cast<float>(upper << 16U | lower);
      const std::uint16_t bits = to_bfloat16(value);
      if (std::isnan(value)) {
        ASSERT_TRUE(std::isnan(from_bfloat16(bits))) << upper << ' ' << lower;
        ++nans;
        continue;
      }
      ASSERT_EQ(bits, c10::BFloat16(value).x) << value;
      ASSERT_EQ(from_bfloat16(bits), static_cast<float>(c10::BFloat16(value))) << value;
      infinite += std::isfinite(value) && std::isinf(from_bfloat16(bits)) ? 1 : 0;
      ties += lower == 0x8000U ? 1 : 0;
    }
  }
  EXPECT_GT(nans, 0);
  EXPECT_GT(infinite, 0);
  EXPECT_GT(ties, 0);
}

}  // namespace
}  // namespace muster
