#include "data_loader/manifest/row_index.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "core/error.h"
#include "core/random.h"
#include "data_loader/manifest/byte_io.h"
#include "data_loader/manifest/index_sidecar.h"

namespace muster {
namespace {

struct Case {
  std::vector<std::string> names;
  std::vector<Block> blocks;
  std::vector<std::vector<std::uint8_t>> splits;  // of each block's rows
  RowIndex index() const {
    RowIndex rows(names, blocks);
    for (const auto& block : splits) rows.append_block(block);
    return rows;
  }
};

/// Rows in runs whose lengths are around the varint's borders, or single rows.
Case random_case(RandomStream& random, std::map<std::string, int>& edges) {
  Case one{{"train", "validation", "test"}, {}, {}};
  const std::uint64_t blocks = random.below(6);
  if (blocks == 0) ++edges["no block"];
  std::uint64_t first = 0;
  for (std::uint64_t b = 0; b < blocks; ++b) {
    std::vector<std::uint8_t> splits;
    const std::uint64_t runs = 1 + random.below(5);
    for (std::uint64_t r = 0; r < runs; ++r) {
      const std::uint64_t choice = random.below(4);
      const auto split = choice == 3 ? RowIndex::kNone : static_cast<std::uint8_t>(choice);
      if (choice == 3) ++edges["rows of no split"];
      const std::uint64_t length = random.below(2) == 0 ? 1 : 126 + random.below(4);
      if (length == 127) ++edges["a run of 127"];
      if (length == 128) ++edges["a run of 128"];
      splits.insert(splits.end(), length, split);
    }
    if (runs == 1) ++edges["one run in a block"];
    one.blocks.push_back({0, first, static_cast<std::uint32_t>(splits.size())});
    one.splits.push_back(splits);
    first += splits.size();
  }
  return one;
}

TEST(RowIndexTest, GivesBackEveryRowBeforeAndAfterItsBytes) {
  RandomStream random(random_key(7, Purpose::kGenerate, {}));
  std::map<std::string, int> edges;
  for (int i = 0; i < 500; ++i) {
    const Case one = random_case(random, edges);
    const RowIndex index = one.index();
    const RowIndex back = RowIndex::deserialize(index.serialize(), one.blocks, "rows.bin");
    EXPECT_EQ(back.hash(), index.hash());
    EXPECT_EQ(back.split_names(), one.names);
    for (const std::uint8_t split : {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{2}, RowIndex::kNone}) {
      std::uint64_t total = 0;
      for (std::uint32_t b = 0; b < one.blocks.size(); ++b) {
        std::vector<std::uint32_t> expected;
        for (std::uint32_t row = 0; row < one.splits[b].size(); ++row) {
          if (one.splits[b][row] == split) expected.push_back(row);
        }
        EXPECT_EQ(index.rows_of(split, b), expected);
        EXPECT_EQ(back.rows_of(split, b), expected);
        EXPECT_EQ(back.rows_per_block(split)[b], expected.size());
        total += expected.size();
      }
      EXPECT_EQ(back.rows(split), total);
    }
  }
  for (const char* edge :
       {"no block", "rows of no split", "a run of 127", "a run of 128", "one run in a block"}) {
    printf("%s: %d times\n", edge, edges[edge]);
    EXPECT_GT(edges[edge], 0) << edge;
  }
}

TEST(RowIndexTest, BytesAreTheDocumentedOnes) {
  RowIndex index({"train", "b"}, {{0, 0, 131}, {0, 131, 1}});
  std::vector<std::uint8_t> first(131, 0);
  first[130] = 1;
  index.append_block(first);
  index.append_block(std::vector<std::uint8_t>{RowIndex::kNone});
  const std::vector<std::uint8_t> body = {'M', 'U', 'S', 'T', 'R', 'O', 'W', 'S',  // magic
                                          1,   0,   0,   0,                        // version
                                          2,   0,   0,   0,                        // splits
                                          5,   0,   0,   0,   't', 'r', 'a', 'i', 'n', 1, 0,
                                          0,   0,   'b', 2,   0,   0,   0,   0,   0,   0, 0,  // blocks
                                          130, 1,   0,   1,   1,  // 130 × train, 1 × b
                                          1,   255};              // 1 × none
  const std::vector<std::byte> bytes = index.serialize();
  ASSERT_EQ(bytes.size(), body.size() + 32);
  const Sha256 hash = sha256(std::as_bytes(std::span(body)));
  for (std::size_t i = 0; i < body.size(); ++i) EXPECT_EQ(std::to_integer<int>(bytes[i]), body[i]) << i;
  for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(std::to_integer<int>(bytes[body.size() + i]), hash.bytes[i]);
  EXPECT_EQ(index.hash(), hash);
}

TEST(RowIndexTest, UnknownSplitListsTheKnownOnes) {
  const RowIndex index({"train", "test"}, {});
  EXPECT_EQ(index.split("test"), 1);
  try {
    index.split("tes");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    EXPECT_NE(error.message().find("did you mean 'test'"), std::string::npos);
    EXPECT_NE(error.message().find("train, test"), std::string::npos);
  }
}

/// Every flipped byte and every length is refused, with its place.
template <typename Read>
void expect_damage_refused(const std::vector<std::byte>& bytes, const Read& read) {
  const auto refused = [&](const std::vector<std::byte>& damaged, const std::string& what) {
    try {
      read(damaged);
      ADD_FAILURE() << what << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kStorage) << what;
      EXPECT_EQ(error.where(), "x.bin") << what;
    }
  };
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::vector<std::byte> damaged = bytes;
    damaged[i] ^= std::byte{1};
    refused(damaged, "a flip of byte " + std::to_string(i));
    refused({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(i)}, "length " + std::to_string(i));
  }
}

TEST(RowIndexTest, DamageIsRefused) {
  const std::vector<Block> blocks = {{0, 0, 3}};
  RowIndex index({"train"}, blocks);
  index.append_block(std::vector<std::uint8_t>{0, 0, RowIndex::kNone});
  expect_damage_refused(index.serialize(), [&](const auto& bytes) {
    static_cast<void>(RowIndex::deserialize(bytes, blocks, "x.bin"));
  });
}

/// Bytes with a right trailer around a wrong body: the hash must not be all that protects.
TEST(RowIndexTest, WrongContentWithARightHashIsRefused) {
  const auto make = [](std::uint32_t splits, std::uint64_t blocks,
                       const std::vector<std::pair<std::uint64_t, std::uint8_t>>& runs) {
    ByteWriter out("MUSTROWS", 1);
    out.u32(splits);
    for (std::uint32_t i = 0; i < std::min(splits, 1000U); ++i) out.text("s");
    out.u64(blocks);
    for (const auto& [rows, split] : runs) {
      out.varint(rows);
      out.u8(split);
    }
    return std::move(out).finish();
  };
  const auto read = [](const std::vector<std::byte>& bytes) {
    return RowIndex::deserialize(bytes, {{0, 0, 3}}, "x");
  };
  EXPECT_EQ(read(make(1, 1, {{3, 0}})).rows(0), 3U);
  EXPECT_THROW(read(make(1, 2, {{3, 0}})), Error);
  EXPECT_THROW(read(make(1, 1, {{4, 0}})), Error);
  EXPECT_THROW(read(make(1, 1, {{2, 0}})), Error);
  EXPECT_THROW(read(make(1, 1, {{0, 0}, {3, 0}})), Error);
  EXPECT_THROW(read(make(1, 1, {{3, 1}})), Error);
  EXPECT_THROW(read(make(1, 1, {{3, 0}, {1, 0}})), Error);
  EXPECT_THROW(read(make(1, 1, {{~0ULL, 0}})), Error);
  EXPECT_THROW(read(make(255, 1, {{3, 0}})), Error);
  EXPECT_THROW(read(make(0xffffffff, 1, {{3, 0}})), Error);
}

TEST(ByteReaderTest, NeverReadsBeyondTheBody) {
  const auto reads = [](auto&& read) {
    ByteWriter out("MUSTTEST", 3);
    out.u8(200);
    const std::vector<std::byte> bytes = std::move(out).finish();
    ByteReader in(bytes, "MUSTTEST", 3, "x");
    EXPECT_EQ(in.left(), 1U);
    read(in);
  };
  EXPECT_NO_THROW(reads([](ByteReader& in) { EXPECT_EQ(in.u8(), 200), in.finish(); }));
  EXPECT_THROW(reads([](ByteReader& in) { in.u8(), in.u8(); }), Error);
  EXPECT_THROW(reads([](ByteReader& in) { in.u32(); }), Error);
  EXPECT_THROW(reads([](ByteReader& in) { in.varint(); }), Error) << "its first byte asks for a second";
  EXPECT_THROW(reads([](ByteReader& in) { in.text(); }), Error);
  EXPECT_THROW(reads([](ByteReader& in) { in.hash(); }), Error);
  EXPECT_THROW(reads([](ByteReader& in) { in.finish(); }), Error);
}

TEST(ByteReaderTest, TextLongerThanTheBodyAndNumbersLongerThan64BitsAreRefused) {
  ByteWriter text("MUSTTEST", 3);
  text.u32(5);
  text.u32(0);
  const std::vector<std::byte> bytes = std::move(text).finish();
  EXPECT_THROW(ByteReader(bytes, "MUSTTEST", 3, "x").text(), Error);
  EXPECT_THROW(ByteReader(bytes, "MUSTTEST", 2, "x"), Error);
  EXPECT_THROW(ByteReader(bytes, "MUSTTESS", 3, "x"), Error);
  ByteWriter number("MUSTTEST", 3);
  for (int i = 0; i < 9; ++i) number.u8(0xff);
  number.u8(2);
  const std::vector<std::byte> big = std::move(number).finish();
  EXPECT_THROW(ByteReader(big, "MUSTTEST", 3, "x").varint(), Error);
  ByteWriter largest("MUSTTEST", 3);
  largest.varint(~std::uint64_t{0});
  const std::vector<std::byte> fits = std::move(largest).finish();
  EXPECT_EQ(ByteReader(fits, "MUSTTEST", 3, "x").varint(), ~std::uint64_t{0});
}

IndexSidecar example_sidecar() {
  IndexSidecar sidecar;
  sidecar.fingerprint = sha256("f");
  sidecar.fields = {"a", "b"};
  sidecar.partitions = {{{100, -5, sha256("e")}, {sha256("1"), sha256("2")}}, {{0, 7, sha256("")}, {}}};
  return sidecar;
}

TEST(IndexSidecarTest, ComesBackTheSame) {
  const IndexSidecar sidecar = example_sidecar();
  const IndexSidecar back = IndexSidecar::deserialize(sidecar.serialize(), "index.bin");
  EXPECT_EQ(back.fingerprint, sidecar.fingerprint);
  EXPECT_EQ(back.fields, sidecar.fields);
  ASSERT_EQ(back.partitions.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(back.partitions[i].stamp, sidecar.partitions[i].stamp);
    EXPECT_EQ(back.partitions[i].blocks, sidecar.partitions[i].blocks);
  }
}

TEST(IndexSidecarTest, DamageIsRefused) {
  expect_damage_refused(example_sidecar().serialize(), [](const auto& bytes) {
    static_cast<void>(IndexSidecar::deserialize(bytes, "x.bin"));
  });
}

TEST(IndexSidecarTest, CountsBeyondTheBytesAreRefused) {
  for (const std::uint64_t blocks : {std::uint64_t{1}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    ByteWriter out("MUSTINDX", 1);
    out.hash(Sha256());
    out.u32(1);
    out.text("a");
    out.u32(1);
    out.u64(0);
    out.u64(0);
    out.hash(Sha256());
    out.u64(blocks);
    EXPECT_THROW(IndexSidecar::deserialize(std::move(out).finish(), "x"), Error);
  }
}

}  // namespace
}  // namespace muster
