// Generations and claims: what an orphan of an earlier start writes is never chosen.
#include <gtest/gtest.h>

#include <functional>
#include <utility>

#include "tests/trainer/checkpoint_cases.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

TEST(CheckpointClaims, AFlippedBitInAClaimCostsNothing) {
  const auto files = run_with_history();
  auto orphan = store_on(*files);  // generation 2 starts from step 10 and commits step 20
  orphan.claim("g0001-step-00000010");
  orphan.commit(content_of(20), {3});
  store_on(*files).claim("g0001-step-00000010");  // so does 3, which dies at once
  const std::filesystem::path claim = kDirectory / "claims" / "g0003.json";
  for (std::uint64_t byte = 0; byte < files->size(claim); ++byte) {
    files->flip_bit(claim, byte, static_cast<int>(byte % 8));
    EXPECT_EQ(chosen(*files), "g0001-step-00000010") << byte;
    files->flip_bit(claim, byte, static_cast<int>(byte % 8));
  }
  files->remove_all(claim);
  files->create(claim)->append(std::string_view("lost"));
  const auto choice = store_on(*files).latest_good();  // the best that is left, and a word about the claim
  ASSERT_TRUE(choice.checkpoint);
  ASSERT_EQ(choice.rejected.size(), 1U);
  EXPECT_EQ(choice.rejected[0].reason.where(), claim.string());
}

TEST(CheckpointClaims, AClaimUnderAnotherNameIsNoneAndLosesNothing) {
  const auto files = run_with_history();
  const std::string claim = files->read_text(kDirectory / "claims" / "g0001.json");
  files->create(kDirectory / "claims" / "g9999.json")->append(std::string_view(claim));
  const auto choice = store_on(*files).latest_good();
  ASSERT_TRUE(choice.checkpoint);
  EXPECT_EQ(choice.checkpoint->name, "g0001-step-00000010");
  ASSERT_EQ(choice.rejected.size(), 1U);
  EXPECT_NE(choice.rejected[0].reason.message().find("another generation"), std::string::npos);
}

TEST(CheckpointClaims, AStartWhoseClaimIsGonePublishesNothing) {
  const auto files = run_with_history();
  auto store = store_on(*files);
  store.claim("g0001-step-00000010");
  files->remove_all(kDirectory / "claims");
  try {
    store.commit(content_of(20), {3});
    FAIL() << "into a directory that is another one";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kStorage);
    EXPECT_NE(error.message().find("this start's claim is gone"), std::string::npos) << error.what();
  }
}

TEST(CheckpointClaims, OfTwoConcurrentStartsEachGetsItsOwnGeneration) {
  /// Lets another start claim just before the link.
  class Race : public FaultyFileSystem {
   public:
    bool link(const std::filesystem::path& from, const std::filesystem::path& to) override {
      if (const auto intrude = std::exchange(before_link, nullptr)) intrude();
      return FaultyFileSystem::link(from, to);
    }
    std::function<void()> before_link;
  };
  Race files;
  files.make_directories("/run");
  auto first = store_on(files);
  auto second = store_on(files);
  files.before_link = [&] { EXPECT_EQ(second.claim(""), 1U); };
  EXPECT_EQ(first.claim(""), 2U);
  EXPECT_TRUE(second.superseded());
  EXPECT_FALSE(first.superseded());
  try {
    second.commit(content_of(0), {2});
    FAIL() << "an orphan committed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNothingToDo);
  }
  first.commit(content_of(0), {2});
  EXPECT_EQ(chosen(files), "g0002-step-00000000");
  EXPECT_EQ(files.list(kDirectory / "claims"), (std::vector<std::string>{"g0001.json", "g0002.json"}));
}

/// The file system of a process that is taken over in the middle of a commit: it sees no newer claim.
class BlindToClaims : public FaultyFileSystem {
 public:
  std::vector<std::string> list(const std::filesystem::path& directory) override {
    auto names = FaultyFileSystem::list(directory);
    if (blind && directory.filename() == "claims") std::erase(names, "g0002.json");
    return names;
  }
  bool blind = false;
};

TEST(CheckpointClaims, WhatAnOrphanCommitsIsNeverChosen) {
  BlindToClaims files;
  files.make_directories("/run");
  auto orphan = store_on(files);
  orphan.claim("");
  orphan.commit(content_of(0), {5});
  orphan.commit(content_of(10), {5});
  auto next = store_on(files);
  next.claim(chosen(files));
  files.blind = true;
  orphan.commit(content_of(20), {5});
  files.blind = false;
  EXPECT_EQ(chosen(files), "g0001-step-00000010");
  auto third = store_on(files);
  EXPECT_EQ(third.claim("g0001-step-00000010"), 3U);
  EXPECT_EQ(chosen(files), "g0001-step-00000010");
  third.commit(content_of(15), {5});
  EXPECT_EQ(chosen(files), "g0003-step-00000015");
  files.flip_bit(kDirectory / "g0003-step-00000015" / "contract.yaml", 0, 0);
  EXPECT_EQ(chosen(files), "g0001-step-00000010");
  files.flip_bit(kDirectory / "g0001-step-00000010" / "contract.yaml", 0, 0);
  EXPECT_EQ(chosen(files), "g0001-step-00000000");
}

}  // namespace
}  // namespace muster
