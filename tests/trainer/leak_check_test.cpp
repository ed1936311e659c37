// The leak guard on a dataset: the same for any number of ranks, refused or warned of.
#include "trainer/data/leak_check.h"

#include <gtest/gtest.h>

#include <mutex>
#include <string>

#include "core/text.h"
#include "data_loader/dataset/leak_sample.h"
#include "tests/data_loader/dataset_fixture.h"
#include "trainer/comm/agreement.h"
#include "trainer/comm/local_communicator.h"

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

TEST_F(LeakCheckTest, EveryLabelIsLookedAt) {
  write_contract(kByFraction);
  std::string text = read_text("contract.yaml");
  const std::string label = "  label: {dtype: uint8, allowed: [0, 1], role: label}\n";
  ASSERT_NE(text.find(label), std::string::npos);
  text.insert(text.find(label) + label.size(), "  second: {dtype: uint8, allowed: [0, 1], role: label}\n");
  write("contract.yaml", text);
  for (std::uint64_t p = 0; p < 3; ++p) {
    Columns columns = make_columns(400, 400 * p);
    columns.emplace_back(400);
    for (std::uint64_t row = 0; row < 400; ++row)
      set(columns, kLabel + 1, row,
          static_cast<std::uint8_t>(get<float>(columns, kAmount, row) > 50 ? 1 : 0));
    write_partition(fmt::format("p{}.h5", p), columns, 400);
  }
  const ValidateReport validated = validate(options());
  ASSERT_EQ(validated.fault_count, 0U);
  EXPECT_EQ(validated.splits[0].counts_of_labels.at("second").at("0") +
                validated.splits[0].counts_of_labels.at("second").at("1"),
            validated.splits[0].rows);
  EXPECT_TRUE(validated.splits[0].label_counts.empty());
  const Dataset data = Dataset::open(directory());
  const LeakReport alone = report(data, 1);
  ASSERT_EQ(alone.findings.size(), 1U);
  EXPECT_NE(alone.findings[0].message.find("'amount' alone tells the label 'second' with AUC"),
            std::string::npos)
      << alone.findings[0].message;
  ASSERT_EQ(alone.by_label.size(), 2U);
  EXPECT_EQ(alone.by_label[1].first, "second");
  const LeakReport many = report(data, 3);
  ASSERT_EQ(many.findings.size(), 1U);
  EXPECT_EQ(many.findings[0].message, alone.findings[0].message);
  const LeakFields chosen = LeakFields::of(data.contract(), {{}, {"label"}});
  EXPECT_EQ(chosen.labels, std::vector<std::size_t>{kLabel}) << "data.labels";
}

TEST_F(LeakCheckTest, ALabelThatIsAnArrayMakesRowsDifferAndIsNotLookedAtAlone) {
  write_contract(kByFraction);
  std::string text = read_text("contract.yaml");
  text.replace(text.find("range: [0, 200]"), 15, "role: label");
  write("contract.yaml", text);
  for (const bool same_pixels : {false, true}) {
    clear_partitions();
    for (std::uint64_t p = 0; p < 2; ++p) {
      Columns columns = make_columns(400, 0);
      for (std::uint64_t i = 0; i < 6 * 400 && !same_pixels; i += 6)
        set(columns, kPixels, i + 5, static_cast<std::uint8_t>(p));  // the last of a row
      write_partition(fmt::format("p{}.h5", p), columns, 400);
    }
    const ValidateReport validated = validate(options());
    ASSERT_EQ(validated.fault_count, 0U);
    EXPECT_EQ(validated.splits[0].counts_of_labels.count("label"), 1U);
    EXPECT_EQ(validated.splits[0].counts_of_labels.count("pixels"), 0U) << "an array is no class";
    const Dataset data = Dataset::open(directory());
    const FieldChoice choice{{"amount", "score", "kind"}, {"pixels"}};
    EXPECT_TRUE(LeakFields::of(data.contract(), choice).labels.empty());
    for (const int world : {1, 3}) {
      run_local(world, [&](Communicator& comm) {
        const LeakReport found = check_leaks(comm, data, "train", "validation", choice);
        EXPECT_EQ(found.findings.size(), same_pixels ? 1U : 0U) << "shared rows";
        EXPECT_EQ(found.rows, data.row_index().rows(data.row_index().split("train")));
        EXPECT_TRUE(found.scores.empty());
        ASSERT_EQ(found.notes.size(), 1U);
        EXPECT_NE(found.notes[0].find("'pixels' is an array"), std::string::npos) << found.notes[0];
      });
    }
  }
}

/// Rows whose score became known late: 100 … 139 of each partition's 400, of all splits.
class KnownAtTest : public LeakCheckTest {
 protected:
  Dataset dataset(bool late, const std::string& type) {
    write_contract(kByFraction);
    std::string text = read_text("contract.yaml");
    text.replace(text.find("missing: indicator}"), 19, "missing: indicator, known_at: known}");
    text.replace(text.find("splits:"), 7,
                 "  known: {dtype: " + type +
                     ", missing: impute, missing_value: -9}\nnever_features: [known]\nsplits:");
    write("contract.yaml", text);
    for (std::uint64_t p = 0; p < 3; ++p) {
      Columns columns = make_columns(400, 400 * p);
      columns.emplace_back(400 * sizeof(std::int64_t));
      for (std::uint64_t row = 0; row < 400; ++row) {
        const auto time = get<std::int64_t>(columns, kTime, row);
        const bool is_late = late && row >= 100 && row < 140;
        const std::int64_t known = row % 50 == 0 ? -9 : is_late ? time + 1 : time - (row % 3 == 0 ? 0 : 5);
        if (type == "int64") {
          set(columns, kLabel + 1, row, known);
        } else {
          set(columns, kLabel + 1, row, static_cast<double>(known));
        }
      }
      write_partition(fmt::format("p{}.h5", p), columns, 400);
    }
    EXPECT_EQ(validate(options()).fault_count, 0U);
    return Dataset::open(directory());
  }

  /// Rows of the two splits for which `is` holds, and the first of them in the training split.
  template <typename Is>
  static std::pair<std::uint64_t, std::string> count(const Dataset& data, const Is& is) {
    std::pair<std::uint64_t, std::string> found{0, ""};
    const RowIndex& index = data.row_index();
    for (const char* split : {"train", "validation"}) {
      for (std::uint32_t block = 0; block < index.blocks().size(); ++block) {
        for (const std::uint32_t row : index.rows_of(index.split(split), block)) {
          const Block& place = index.blocks()[block];
          const std::uint64_t in_file = place.first_row + row;
          if (!is(in_file)) continue;
          if (found.first++ == 0) found.second = fmt::format("p{}.h5:known[{}]", place.partition, in_file);
        }
      }
    }
    return found;
  }
};

TEST_F(KnownAtTest, AFeatureThatBecameKnownAfterTheRowsTimeIsASign) {
  for (const char* type : {"int64", "float64"}) {
    clear_partitions();
    const Dataset data = dataset(true, type);
    const auto [late, first] =
        count(data, [](std::uint64_t row) { return row >= 100 && row < 140 && row % 50 != 0; });
    const auto [unknown, place] = count(data, [](std::uint64_t row) { return row % 50 == 0; });
    const std::uint64_t rows = count(data, [](std::uint64_t) { return true; }).first;
    ASSERT_GT(late, 50U);
    ASSERT_GT(unknown, 5U);
    for (const int world : {1, 2, 3, 5}) {
      const LeakReport found = report(data, world);
      ASSERT_EQ(found.findings.size(), 1U) << type;
      EXPECT_EQ(found.findings[0].kind, "known_late");
      EXPECT_EQ(found.findings[0].fields, std::vector<std::string>{"score"});
      const std::string says = fmt::format(
          "'score' became known ('known') after the row's time ('when') in {} of {} rows, first in {}/{}",
          human_count(late), human_count(rows), directory().string(), first);
      EXPECT_EQ(found.findings[0].message, says);
      EXPECT_EQ(found.notes,
                std::vector<std::string>{
                    fmt::format("leak guard: when 'score' became known ('known') is missing in {} of {} rows",
                                human_count(unknown), human_count(rows))});
    }
  }
}

TEST_F(KnownAtTest, InTimeOrUnknownIsNoSign) {
  const LeakReport found = report(dataset(false, "int64"), 2);
  EXPECT_TRUE(found.findings.empty());
  EXPECT_EQ(found.notes.size(), 1U);
}

TEST(Lateness, IsExactForLargeIntegersAndFractions) {
  Field whole;
  whole.dtype = DType::kInt64;
  Field real;
  real.dtype = DType::kFloat64;
  const std::int64_t large = (std::int64_t{1} << 53) + 1;
  const double below = 0x1p53;
  const double soon = 1.5;
  const std::int64_t one = 1;
  const double nothing = std::nan("");
  const auto bytes = [](const auto& value) { return std::as_bytes(std::span(&value, 1)); };
  EXPECT_EQ(lateness(whole, bytes(large), real, bytes(below)), Lateness::kLate) << "not equal as doubles are";
  EXPECT_EQ(lateness(real, bytes(below), whole, bytes(large)), Lateness::kInTime);
  EXPECT_EQ(lateness(real, bytes(soon), whole, bytes(one)), Lateness::kLate);
  EXPECT_EQ(lateness(whole, bytes(one), whole, bytes(one)), Lateness::kInTime) << "at that very time";
  EXPECT_EQ(lateness(real, bytes(nothing), whole, bytes(one)), Lateness::kUnknown);
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

TEST_F(LeakCheckTest, AStopOnOneRankEndsItOnAll) {
  const Dataset data = dataset(false);
  std::mutex mutex;
  int ended = 0;
  run_local(3, [&](Communicator& comm) {
    int blocks = 0;
    const auto stop = [&] {
      if (comm.rank() == 1 && ++blocks == 2) fail(ErrorCode::kCheckpointed, "stopped");
    };
    try {
      check_leaks(comm, data, "train", "validation", {}, stop);
    } catch (const AgreedError& error) {
      const std::lock_guard lock(mutex);
      EXPECT_EQ(error.code(), ErrorCode::kCheckpointed);
      ++ended;
    }
  });
  EXPECT_EQ(ended, 3);
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
