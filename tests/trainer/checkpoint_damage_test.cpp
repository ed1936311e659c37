// Whatever is torn, cut or flipped, an intact checkpoint is chosen.
#include <gtest/gtest.h>

#include "tests/trainer/checkpoint_cases.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

TEST(CheckpointStore, EveryFlippedBitCostsOnlyTheCheckpointItHits) {
  const auto files = run_with_history();
  const std::filesystem::path newest = kDirectory / "g0001-step-00000010";
  std::size_t flips = 0;
  for (const std::string& name : files->list(newest)) {
    const std::uint64_t size = files->size(newest / name);
    for (std::uint64_t byte = 0; byte < size; ++byte) {
      const int bit = static_cast<int>((byte * 5 + size) % 8);
      files->flip_bit(newest / name, byte, bit);
      const auto verified = verify_checkpoint(*files, newest);
      ASSERT_FALSE(verified) << name << " byte " << byte << " bit " << bit;
      EXPECT_EQ(verified.error().code(), ErrorCode::kStorage);
      EXPECT_EQ(verified.error().where(), (newest / name).string());
      EXPECT_FALSE(load_checkpoint(*files, newest));
      if (byte % 16 == 0) {
        const auto choice = store_on(*files).latest_good();
        ASSERT_TRUE(choice.checkpoint);
        EXPECT_EQ(choice.checkpoint->name, "g0001-step-00000000");
        ASSERT_EQ(choice.rejected.size(), 1U);
        EXPECT_EQ(choice.rejected[0].name, "g0001-step-00000010");
      }
      files->flip_bit(newest / name, byte, bit);
      ++flips;
    }
  }
  EXPECT_GT(flips, 1500U);
  EXPECT_EQ(chosen(*files), "g0001-step-00000010");
}

TEST(CheckpointStore, EveryBitOfTheManifestCounts) {
  const auto files = run_with_history();
  const std::filesystem::path manifest = kDirectory / "g0001-step-00000010" / "manifest.json";
  for (std::uint64_t byte = 0; byte < files->size(manifest); ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      files->flip_bit(manifest, byte, bit);
      ASSERT_FALSE(verify_checkpoint(*files, manifest.parent_path())) << byte << " bit " << bit;
      files->flip_bit(manifest, byte, bit);
    }
  }
}

TEST(CheckpointStore, MissingCutAndForeignFilesAreNamed) {
  const std::filesystem::path newest = kDirectory / "g0001-step-00000010";
  for (const std::string& name : run_with_history()->list(newest)) {
    const auto files = run_with_history();
    const std::string whole = files->read_text(newest / name);
    files->remove_all(newest / name);
    EXPECT_EQ(verify_checkpoint(*files, newest).error().where(), (newest / name).string());
    files->create(newest / name)->append(std::string_view(whole).substr(0, whole.size() - 1));
    EXPECT_EQ(verify_checkpoint(*files, newest).error().where(), (newest / name).string());
    EXPECT_EQ(chosen(*files), "g0001-step-00000000");
  }
  const auto files = run_with_history();
  files->rename(newest, kDirectory / "g0001-step-00000099");  // a copy under another name is not trusted
  EXPECT_EQ(chosen(*files), "g0001-step-00000000");
}

}  // namespace
}  // namespace muster
