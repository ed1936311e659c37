// SHA-256 by the standard's examples; digests of samples and steps by values that must never change.
#include "core/hash.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "core/error.h"

namespace muster {
namespace {

constexpr const char* kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

ErrorCode code_of(const auto& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kBug;
}

// FIPS 180-4's examples and the empty message.
TEST(Sha256, GivesTheStandardsValues) {
  EXPECT_EQ(sha256("abc").hex(), kAbc);
  EXPECT_EQ(sha256("").hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").hex(),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(1'000'000, 'a')).hex(),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, CutsDoNotMatterAndAHasherStartsAnew) {
  Sha256Hasher hasher;
  EXPECT_EQ(hasher.update("a").update("").update("bc").finish().hex(), kAbc);
  EXPECT_EQ(hasher.update("abc").finish().hex(), kAbc);
}

TEST(Sha256, HexComesBack) {
  EXPECT_EQ(Sha256::from_hex(kAbc), sha256("abc"));
  EXPECT_EQ(Sha256::from_hex(kAbc).hex(), kAbc);
}

TEST(Sha256, BadHexIsRefused) {
  std::string upper = kAbc;
  upper[0] = 'B';
  std::string letter = kAbc;
  letter[63] = 'g';
  for (const std::string& bad :
       {std::string(), upper, letter, std::string(kAbc) + "0", std::string(63, '0')}) {
    EXPECT_EQ(code_of([&] { Sha256::from_hex(bad); }), ErrorCode::kStorage) << bad;
    EXPECT_EQ(code_of([&] { Digest::from_hex(bad); }), ErrorCode::kStorage) << bad;
  }
}

TEST(Digest, SumsCarryAndWrap) {
  Digest sum{0, ~std::uint64_t{0}};
  sum += {0, 1};
  EXPECT_EQ(sum, (Digest{1, 0}));
  sum = {~std::uint64_t{0}, ~std::uint64_t{0}};
  sum += {0, 1};
  EXPECT_EQ(sum, (Digest{0, 0}));
  sum = {~std::uint64_t{0}, 5};
  sum += {2, ~std::uint64_t{0}};
  EXPECT_EQ(sum, (Digest{2, 4}));
}

TEST(Digest, HexHasTheHighHalfFirstAndComesBack) {
  const Digest digest{0x0123456789abcdefU, 0xfedcba9876543210U};
  EXPECT_EQ(digest.hex(), "0123456789abcdeffedcba9876543210");
  EXPECT_EQ(Digest::from_hex(digest.hex()), digest);
  EXPECT_EQ(code_of([] { Digest::from_hex("0123456789abcdeffedcba987654321"); }), ErrorCode::kStorage);
}

// Never change: runs on disk hold these.
TEST(SampleHash, NeverChanges) {
  EXPECT_EQ(sample_hash(0, 0, 0).hex(), "80abe802ac1e182e59b51f71b30beff7");
  EXPECT_EQ(sample_hash(3, 12345, 255).hex(), "de552f43864fa7cf34d26a8febc64e9e");
  EXPECT_EQ(sample_hash(~0U, ~std::uint64_t{0}, 7).hex(), "6628489ae37e47d9cf246e00e9758f5c");
}

TEST(SampleHash, PartitionRowAndPositionAllCount) {
  std::set<Digest> seen;
  for (std::uint64_t a = 0; a < 8; ++a) {
    for (std::uint64_t b = 0; b < 8; ++b) {
      for (std::uint64_t c = 0; c < 8; ++c) seen.insert(sample_hash(a, b, c));
    }
  }
  EXPECT_EQ(seen.size(), 512U);
}

// Never change: runs on disk hold these.
TEST(Chain, NeverChangesAndOrderCounts) {
  const Digest a = sample_hash(1, 2, 3);
  const Digest b = sample_hash(4, 5, 6);
  EXPECT_EQ(chain({}, {}).hex(), "66687aadf862bd776c8fc18b8e9f8e20");
  EXPECT_EQ(chain(chain({}, a), b).hex(), "b2182fc20eb813ba5007250d4063cb7c");
  EXPECT_NE(chain(chain({}, a), b), chain(chain({}, b), a));
}

}  // namespace
}  // namespace muster
