#include "trainer/runlog/step_report.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "trainer/comm/local_communicator.h"

namespace muster {
namespace {

/// What every rank must get.
StepTotals exchange(const std::vector<StepReport>& reports) {
  std::vector<StepTotals> totals(reports.size());
  run_local(static_cast<int>(reports.size()), [&](Communicator& comm) {
    const auto rank = static_cast<std::size_t>(comm.rank());
    totals[rank] = exchange_reports(comm, reports[rank]);
  });
  for (const StepTotals& other : totals) {
    EXPECT_EQ(other.rows, totals[0].rows);
    EXPECT_EQ(other.digest, totals[0].digest);
    EXPECT_EQ(other.weight, totals[0].weight);
    EXPECT_EQ(other.stop, totals[0].stop);
    EXPECT_EQ(other.save, totals[0].save);
    EXPECT_EQ(other.first_not_finite, totals[0].first_not_finite);
  }
  return totals[0];
}

TEST(StepReport, SumsAreMadeInRankOrder) {
  const StepTotals totals = exchange({{1e16, 1, 3, {0, 5}, false, false},
                                      {1, 2, 4, {7, ~std::uint64_t{0}}, false, false},
                                      {-1e16, 4, 5, {0, 1}, false, false}});
  EXPECT_EQ(totals.loss, (1e16 + 1) + -1e16);
  EXPECT_EQ(totals.weight, 7);
  EXPECT_EQ(totals.rows, 12U);
  EXPECT_EQ(totals.digest, (Digest{8, 5}));
  EXPECT_FALSE(totals.stop);
  EXPECT_FALSE(totals.save);
  EXPECT_EQ(totals.first_not_finite, -1);
}

TEST(StepReport, OneRanksWishIsEverybodys) {
  for (std::size_t wishing = 0; wishing < 3; ++wishing) {
    std::vector<StepReport> reports(3);
    reports[wishing].stop = true;
    EXPECT_TRUE(exchange(reports).stop);
    EXPECT_FALSE(exchange(reports).save);
    reports[wishing] = {};
    reports[wishing].save = true;
    EXPECT_TRUE(exchange(reports).save);
    EXPECT_FALSE(exchange(reports).stop);
  }
}

TEST(StepReport, TheLowestRankWhoseLossIsNotFiniteIsNamed) {
  std::vector<StepReport> reports(4);
  reports[3].loss = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(exchange(reports).first_not_finite, 3);
  reports[1].loss = -std::numeric_limits<double>::infinity();
  EXPECT_EQ(exchange(reports).first_not_finite, 1);
  reports[0].weight = std::numeric_limits<double>::infinity();
  EXPECT_EQ(exchange(reports).first_not_finite, 0);
}

}  // namespace
}  // namespace muster
