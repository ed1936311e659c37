#include "data_loader/manifest/manifest.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace muster {
namespace {

Manifest example() {
  Manifest manifest;
  manifest.partitions = {{"a.h5", "a.h5", 10, 4, sha256("a")},
                         {"b.h5", "b.h5", 0, 4, sha256("b")},
                         {"c.h5", "c.h5", 8, 8, sha256("c")}};
  manifest.contract = sha256("contract");
  manifest.row_index = sha256("rows");
  return manifest;
}

TEST(ManifestTest, BlocksAreRunsOfRowsOfOnePartition) {
  const std::vector<Block> blocks = example().blocks();
  ASSERT_EQ(blocks.size(), 4U);
  const auto is = [&](std::size_t i, std::uint32_t partition, std::uint64_t first, std::uint32_t rows) {
    return blocks[i].partition == partition && blocks[i].first_row == first && blocks[i].rows == rows;
  };
  EXPECT_TRUE(is(0, 0, 0, 4));
  EXPECT_TRUE(is(1, 0, 4, 4));
  EXPECT_TRUE(is(2, 0, 8, 2));
  EXPECT_TRUE(is(3, 2, 0, 8));
  EXPECT_EQ(example().rows(), 18U);
}

TEST(ManifestTest, FingerprintIsTheDocumentedHash) {
  const auto hex = [](const char* text) { return sha256(text).hex(); };
  const std::string canonical_text = R"({"contract":")" + hex("contract") +
                                     R"(","partitions":[{"block_rows":4,"content":")" + hex("a") +
                                     R"(","name":"a.h5","rows":10},{"block_rows":4,"content":")" + hex("b") +
                                     R"(","name":"b.h5","rows":0},{"block_rows":8,"content":")" + hex("c") +
                                     R"(","name":"c.h5","rows":8}],"row_index":")" + hex("rows") + R"("})";
  EXPECT_EQ(example().fingerprint(), sha256(canonical_text));
}

TEST(ManifestTest, FingerprintFollowsWhatIdentifiesAndNothingElse) {
  const Sha256 before = example().fingerprint();
  const std::vector<std::function<void(Manifest&)>> changes = {
      [](Manifest& m) { m.partitions[0].name = "z.h5"; },
      [](Manifest& m) { m.partitions[0].rows = 11; },
      [](Manifest& m) { m.partitions[0].block_rows = 5; },
      [](Manifest& m) { m.partitions[0].content = sha256("z"); },
      [](Manifest& m) { m.contract = sha256("z"); },
      [](Manifest& m) { m.row_index = sha256("z"); },
      [](Manifest& m) { std::swap(m.partitions[0], m.partitions[2]); }};
  for (const auto& change : changes) {
    Manifest manifest = example();
    change(manifest);
    EXPECT_NE(manifest.fingerprint(), before);
  }
  Manifest moved = example();
  moved.partitions[0].path = "elsewhere/a.h5";
  EXPECT_EQ(moved.fingerprint(), before) << "where a partition lies is not part of the identity";
}

TEST(ManifestTest, JsonComesBackTheSame) {
  const Manifest back = Manifest::from_json(parse_json(example().to_json().dump(2), "m"), "m");
  EXPECT_EQ(back.to_json(), example().to_json());
  EXPECT_EQ(back.partitions[1].path, "b.h5");
  EXPECT_EQ(back.fingerprint(), example().fingerprint());
}

TEST(ManifestTest, DamageIsRefused) {
  struct Damage {
    const char* part;
    std::function<void(Json&)> change;
  };
  const std::vector<Damage> damages = {
      {"has no 'format'", [](Json& j) { j = Json::array(); }},
      {"is no Muster manifest", [](Json& j) { j["format"] = "x"; }},
      {"format version 2", [](Json& j) { j["version"] = 2; }},
      {"'version' is not a natural number", [](Json& j) { j["version"] = 1.0; }},
      {"'partitions' is not a list", [](Json& j) { j["partitions"] = "x"; }},
      {"has no 'contract'", [](Json& j) { j.erase("contract"); }},
      {"'contract'", [](Json& j) { j["contract"] = "abc"; }},
      {"'rows' is not a natural number", [](Json& j) { j["partitions"][0]["rows"] = -1; }},
      {"'rows' is not a natural number", [](Json& j) { j["partitions"][0]["rows"] = 1.5; }},
      {"block_rows cannot be 0", [](Json& j) { j["partitions"][0]["block_rows"] = 0; }},
      {"block_rows cannot be 4294967296", [](Json& j) { j["partitions"][0]["block_rows"] = 4294967296; }},
      {"listed twice", [](Json& j) { j["partitions"][1]["name"] = "a.h5"; }},
      {"no name", [](Json& j) { j["partitions"][1]["path"] = ""; }},
      {"too many blocks", [](Json& j) { j["partitions"][0]["rows"] = 1ULL << 60; }},
      {"64 bits", [](Json& j) { j["partitions"][0]["rows"] = j["partitions"][1]["rows"] = ~0ULL; }},
      {"fingerprint does not match", [](Json& j) { j["partitions"][0]["rows"] = 11; }},
      {"fingerprint does not match", [](Json& j) { j["row_index"] = sha256("other").hex(); }},
      {"has no 'fingerprint'", [](Json& j) { j.erase("fingerprint"); }},
  };
  for (const Damage& damage : damages) {
    Json json = example().to_json();
    damage.change(json);
    try {
      static_cast<void>(Manifest::from_json(json, "manifest.json"));
      FAIL() << "accepted: " << damage.part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kStorage);
      EXPECT_EQ(error.where(), "manifest.json");
      EXPECT_NE(error.message().find(damage.part), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace muster
