#include "core/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace muster {
namespace {

TEST(Crc32c, GivesTheAnswersOfRfc3720) {
  std::string ascending;
  for (int i = 0; i < 32; ++i) ascending += static_cast<char>(i);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  EXPECT_EQ(crc32c(ascending), 0x46dd794eU);
  EXPECT_EQ(crc32c(std::string(ascending.rbegin(), ascending.rend())), 0x113fdb5cU);
}

TEST(Crc32c, GivesTheCheckValueAndThatOfNothing) {
  EXPECT_EQ(crc32c("123456789"),
            0xe3069283U);  // "check" of CRC-32/ISCSI in the catalogue of parametrised CRCs
  EXPECT_EQ(crc32c(""), 0U);
}

}  // namespace
}  // namespace muster
