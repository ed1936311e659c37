// The leak guard on a dataset: the same for any number of ranks, refused or warned of.
#include "trainer/leak_check.h"

#include <gtest/gtest.h>

#include <mutex>
#include <string>

#include "core/text.h"
#include "data_loader/leak_sample.h"
#include "tests/data_loader/dataset_fixture.h"
#include "trainer/agreement.h"
#include "trainer/local_communicator.h"

namespace muster {
namespace {

class LeakCheckTest : public ::testing::Test, public DatasetFixture {
 protected:
  /// `leak`: the amount says what the label is.
  Dataset dataset(bool leak) {
    write_contract(kByFraction);
    for (std::uint64_t p = 0; p < 3; ++p) {
      Columns columns = make_columns(400, 400 * p);
      for (std::uint64_t row = 0; row < 400 && leak; ++row)
        set(columns, kAmount, row, 40.0F + 20.0F * get<std::uint8_t>(columns, kLabel, row));
      write_partition(fmt::format("p{}.h5", p), columns, 400);
    }
    EXPECT_EQ(validate(options()).fault_count, 0U);
    return Dataset::open(directory());
  }

  static LeakReport report(const Dataset& dataset, int world) {
    LeakReport first;
    std::mutex mutex;
    run_local(world, [&](Communicator& comm) {
      LeakReport mine = check_leaks(comm, dataset, "train", "validation", {});
      const std::lock_guard lock(mutex);
      if (comm.rank() == 0) first = std::move(mine);
    });
    return first;
  }
};

TEST_F(LeakCheckTest, SaysTheSameForAnyNumberOfRanks) {
  const Dataset data = dataset(true);
  const LeakReport alone = report(data, 1);
  ASSERT_EQ(alone.findings.size(), 1U);
  EXPECT_EQ(alone.findings[0].fields, std::vector<std::string>{"amount"});
  EXPECT_EQ(alone.rows, data.row_index().rows(data.row_index().split("train")));
  for (const int world : {2, 3, 5}) {
    const LeakReport many = report(data, world);
    EXPECT_EQ(many.rows, alone.rows);
    ASSERT_EQ(many.findings.size(), 1U);
    EXPECT_EQ(many.findings[0].message, alone.findings[0].message);
    ASSERT_EQ(many.scores.size(), alone.scores.size());
    for (std::size_t i = 0; i < alone.scores.size(); ++i)
      EXPECT_EQ(many.scores[i].auc, alone.scores[i].auc) << i;
  }
}

TEST_F(LeakCheckTest, HonestDataPass) { EXPECT_TRUE(report(dataset(false), 2).findings.empty()); }

TEST_F(LeakCheckTest, RefusesOnEveryRankOrWarns) {
  const Dataset data = dataset(true);
  for (const bool refuse : {true, false}) {
    std::mutex mutex;
    int refused = 0;
    std::string said;
    run_local(3, [&](Communicator& comm) {
      const LeakReport found = check_leaks(comm, data, "train", "validation", {});
      const LogSink log = [&](LogLevel level, std::string_view line) {
        const std::lock_guard lock(mutex);
        if (level == LogLevel::kWarning) said += std::string(line) + "\n";
      };
      try {
        apply_leak_policy(comm, found, refuse ? "refuse" : "warn", log);
      } catch (const AgreedError& error) {
        const std::lock_guard lock(mutex);
        EXPECT_EQ(error.code(), ErrorCode::kData);
        EXPECT_EQ(error.mine(), comm.rank() == 0);
        ++refused;
      }
    });
    EXPECT_EQ(refused, refuse ? 3 : 0);
    EXPECT_EQ(said.find("leak? 'amount' alone"), 0U) << said;
    EXPECT_EQ(said.find('\n'), said.size() - 1) << "said once";
  }
}

TEST_F(LeakCheckTest, TakesAllBlocksOfAFewRows) {
  const Dataset data = dataset(false);
  const std::uint8_t train = data.row_index().split("train");
  const LeakFields fields = LeakFields::of(data.contract(), {});
  std::uint64_t rows = 0;
  for (const std::uint32_t block : leak_blocks(data, fields, train))
    rows += data.row_index().rows_of(train, block).size();
  EXPECT_EQ(rows, data.row_index().rows(train));
  EXPECT_EQ(fields.inputs.size(), 5U);
  EXPECT_EQ(fields.scalars.size(), 3U) << "arrays are only hashed";
}

}  // namespace
}  // namespace muster
