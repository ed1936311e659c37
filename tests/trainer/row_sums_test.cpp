// Rows of tables summed over ranks that are threads, beside the same sums of whole tables. Also under the
// thread sanitizer.
#include "trainer/gradients/row_sums.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <map>

#include "core/error.h"
#include "core/random.h"
#include "trainer/comm/local_communicator.h"

namespace muster {
namespace {

struct Hits {
  std::atomic<int> by_rows = 0, whole = 0, whole_without_all = 0, gave_all = 0, gave_nothing = 0,
                   nobody_gave = 0, both_in_a_step = 0, shared_rows = 0;
};

float term(std::uint64_t step, int rank, std::size_t table, std::size_t i) {
  return static_cast<float>((step * 31 + static_cast<std::uint64_t>(rank) * 7919 + table * 104'729 + i * 13) %
                            1009) /
         7.0F;
}

/// What a rank gives to a table in a step: values of rows, or all of them.
struct Gift {
  bool all = false;
  std::vector<std::int64_t> ids;
};

Gift gift(std::uint64_t seed, std::uint64_t step, int rank, std::size_t number, std::size_t rows) {
  RandomStream random(random_key(seed, Purpose::kGenerate, {step, static_cast<std::uint64_t>(rank), number}));
  Gift given;
  given.all = random.below(12) == 0;
  const std::uint64_t share = random.below(4) == 0   ? 0
                              : random.below(3) == 0 ? 2
                                                     : 12;  // of how many rows one
  for (std::size_t row = 0; share > 0 && row < rows; ++row) {
    if (random.below(share) == 0) given.ids.push_back(static_cast<std::int64_t>(row));
  }
  return given;
}

void run_rank(Communicator& comm, std::uint64_t seed, const std::vector<RowSums::Table>& tables,
              std::uint64_t steps, Hits& hits) {
  RowSums sums(comm, tables, SumPrecision::kFloat32);
  for (std::uint64_t step = 0; step < steps; ++step) {
    std::vector<std::vector<float>> expected;
    for (std::size_t number = 0; number < tables.size(); ++number) {
      const auto& [name, rows, width] = tables[number];
      std::vector<float>& sum = expected.emplace_back(rows * width);
      std::vector<int> givers(rows);
      bool anybody = false;
      for (int rank = 0; rank < comm.size(); ++rank) {
        const Gift given = gift(seed, step, rank, number, rows);
        const auto value = [&](std::size_t i) { return term(step, rank, number, i); };
        std::vector<float> terms(rows * width);
        for (std::size_t row = 0; row < rows; ++row) {
          if (!given.all && !std::ranges::binary_search(given.ids, static_cast<std::int64_t>(row))) continue;
          ++givers[row];
          for (std::size_t i = row * width; i < (row + 1) * width; ++i) terms[i] = value(i);
        }
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += terms[i];
        anybody = anybody || given.all || !given.ids.empty();
        if (rank != comm.rank()) continue;
        if (given.all) {
          std::ranges::copy(terms, sums.table(number).begin());
          sums.give_all(number);
        } else if (!given.ids.empty()) {
          TableRows mine{given.ids, {}};
          for (const std::int64_t id : given.ids) {
            const auto row = terms.begin() + id * static_cast<std::ptrdiff_t>(width);
            mine.values.insert(mine.values.end(), row, row + static_cast<std::ptrdiff_t>(width));
          }
          sums.give(number, std::move(mine));
        }
        hits.gave_all += given.all ? 1 : 0;
        hits.gave_nothing += !given.all && given.ids.empty() ? 1 : 0;
      }
      hits.nobody_gave += anybody ? 0 : 1;
      hits.shared_rows += static_cast<int>(std::ranges::count_if(givers, [](int n) { return n > 1; }));
    }
    const std::uint64_t by_rows = sums.by_rows(), whole = sums.whole();
    sums.finish();
    ASSERT_EQ(sums.by_rows() + sums.whole(), by_rows + whole + tables.size());
    hits.by_rows += static_cast<int>(sums.by_rows() - by_rows);
    hits.whole += static_cast<int>(sums.whole() - whole);
    hits.both_in_a_step += sums.by_rows() > by_rows && sums.whole() > whole ? 1 : 0;
    for (std::size_t number = 0; number < tables.size(); ++number) {
      const std::span<const float> sum = sums.table(number);
      ASSERT_TRUE(std::ranges::equal(sum, expected[number])) << "step " << step << ", table " << number;
    }
  }
}

TEST(RowSumsTest, AreThoseOfWholeTablesToTheBit) {
  Hits hits;
  constexpr std::uint64_t kSeeds = 60;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    RandomStream random(seed);
    const int world = 2 + static_cast<int>(random.below(4));
    std::vector<RowSums::Table> tables(1 + random.below(4));
    for (std::size_t i = 0; i < tables.size(); ++i)
      tables[i] = {fmt::format("table {}", i), 1 + random.below(80), 1 + random.below(9)};
    run_local(world, [&](Communicator& comm) { run_rank(comm, seed, tables, 8, hits); });
  }
  const std::map<std::string, int> edges{
      {"tables by rows", hits.by_rows},           {"whole tables", hits.whole},
      {"all of a table given", hits.gave_all},    {"nothing given", hits.gave_nothing},
      {"nobody gave", hits.nobody_gave},          {"both kinds in a step", hits.both_in_a_step},
      {"rows of several ranks", hits.shared_rows}};
  for (const auto& [edge, times] : edges) {
    std::cout << edge << ": " << times << '\n';
    EXPECT_GT(times, 0) << edge;
  }
}

TEST(RowSumsTest, RowsTravelWhereTheyAreFewerThanTheTableHas) {
  run_local(2, [](Communicator& comm) {
    RowSums sums(comm, {{"table", 4, 1}}, SumPrecision::kFloat32);
    sums.give(0, {{1}, {2.0F}});
    sums.finish();
    EXPECT_EQ(sums.by_rows(), 1U);
    EXPECT_TRUE(std::ranges::equal(sums.table(0), std::vector<float>{0, 4, 0, 0}));
    sums.give(0, {{0, 3}, {1.0F, 1.0F}});
    sums.finish();
    EXPECT_EQ(sums.whole(), 1U);
    EXPECT_TRUE(std::ranges::equal(sums.table(0), std::vector<float>{2, 0, 0, 2}));
    sums.finish();  // nobody has any
    EXPECT_EQ(sums.by_rows(), 2U);
    EXPECT_TRUE(std::ranges::equal(sums.table(0), std::vector<float>{0, 0, 0, 0}));
  });
}

TEST(RowSumsTest, RowsThatTheTableLacksAreABug) {
  const auto comms = make_local_communicators(1);
  RowSums sums(*comms.front(), {{"table", 4, 2}}, SumPrecision::kFloat32);
  EXPECT_THROW(sums.give(0, {{1}, {1.0F}}), Error);
  sums.give(0, {{4}, {1.0F, 1.0F}});
  EXPECT_THROW(sums.finish(), Error);
}

}  // namespace
}  // namespace muster
