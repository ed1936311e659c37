// What validate says of rows as a whole: left out for missing values, values that occur twice, times, strata.
#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <set>

#include "core/file_lock.h"
#include "core/file_system.h"
#include "data_loader/dataset/dataset.h"
#include "data_loader/dataset/validate.h"
#include "data_loader/manifest/source_record.h"
#include "dataset_fixture.h"

namespace muster {
namespace {

class ValidateRowsTest : public ::testing::Test, public DatasetFixture {
 protected:
  void change_contract(const std::string& from, const std::string& to) {
    std::string text = read_text("contract.yaml");
    ASSERT_NE(text.find(from), std::string::npos);
    write("contract.yaml", text.replace(text.find(from), from.size(), to));
  }
};

TEST_F(ValidateRowsTest, AnIngestUnderWayIsWaitedFor) {
  write_contract(kByFraction);
  write_partition("part-0.h5", make_columns(70, 0), 70);
  std::optional<FileLock> ingest(std::in_place, directory() / ".ingest.lock", "");
  try {
    validate(options());
    ADD_FAILURE() << "it looked at what is being written";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_NE(error.message().find("`muster ingest` is writing there"), std::string::npos) << error.what();
  }
  ingest.reset();
  write(".ingest.lock", "");  // a killed one left it
  EXPECT_EQ(validate(options()).rows, 70U);
}

TEST_F(ValidateRowsTest, APartitionOfNoFinishedIngestIsRefused) {
  write_contract(kByFraction);
  write_partition("part-00000.h5", make_columns(70, 0), 70);
  write_partition("part-00001.h5", make_columns(30, 70), 30);
  const auto files = make_posix_file_system();
  std::vector<IngestRecord> records{{70, {"part-00000.h5"}, {}}};
  save_sources(*files, directory(), records);
  const ValidateReport refused = validate(options());
  ASSERT_EQ(refused.faults.size(), 1U);
  EXPECT_NE(std::string(refused.faults[0].what()).find("part-00001.h5: is in no finished ingest"),
            std::string::npos);
  records.push_back({30, {"part-00001.h5", "part-00002.h5"}, {}});
  save_sources(*files, directory(), records);
  const ValidateReport told = validate(options());
  EXPECT_EQ(told.rows, 100U);
  ASSERT_EQ(told.warnings.size(), 1U);
  EXPECT_NE(told.warnings[0].find("part-00002.h5 was ingested"), std::string::npos) << told.warnings[0];
}

TEST_F(ValidateRowsTest, DroppedRowsAreCountedAndInNoSplit) {
  write_contract(kByFraction);
  change_contract("missing: indicator", "missing: drop, max_missing: 0.5");
  change_contract("allowed: [1, 2, 3]}", "allowed: [1, 2, 3], missing: drop, missing_value: 2}");
  std::set<std::uint64_t> dropped;
  std::uint64_t scores = 0;
  std::uint64_t kinds = 0;
  for (std::uint64_t p = 0; p < 3; ++p) {
    const Columns columns = make_columns(70, p * 70);
    for (std::uint64_t row = 0; row < 70; ++row) {
      const bool no_score = std::isnan(get<double>(columns, kScore, row));
      const bool no_kind = get<std::int16_t>(columns, kKind, row) == 2;
      scores += no_score ? 1 : 0;
      kinds += no_kind ? 1 : 0;
      if (no_score || no_kind) dropped.insert(p * 70 + row);
    }
    write_partition(fmt::format("part-{}.h5", p), columns, 70);
  }
  const ValidateReport report = validate(options());
  ASSERT_TRUE(report.faults.empty()) << report.faults[0].what();
  EXPECT_EQ(report.dropped_rows, dropped.size());
  EXPECT_EQ(report.rows_in_no_split, dropped.size());
  EXPECT_EQ(report.dropped.at("score"), scores);
  EXPECT_EQ(report.dropped.at("kind"), kinds);
  EXPECT_EQ(report.to_json()["rows_dropped"], dropped.size());
  const Dataset dataset = Dataset::open(directory());
  std::uint64_t row = 0;
  for (std::uint32_t block = 0; block < dataset.row_index().blocks().size(); ++block) {
    std::set<std::uint32_t> kept;
    for (const char* split : {"train", "validation", "test"}) {
      for (const std::uint32_t r : dataset.row_index().rows_of(dataset.row_index().split(split), block))
        kept.insert(r);
    }
    for (std::uint32_t r = 0; r < dataset.row_index().blocks()[block].rows; ++r, ++row)
      EXPECT_EQ(kept.contains(r), !dropped.contains(row)) << row;
  }
  change_contract("max_missing: 0.5", "max_missing: 0.01");
  const ValidateReport refused = validate(options());
  ASSERT_EQ(refused.fault_count, 1U);
  EXPECT_NE(std::string(refused.faults[0].what()).find("'score' is missing in"), std::string::npos)
      << refused.faults[0].what();
}

TEST_F(ValidateRowsTest, AValueThatOccursTwiceIsNamedWithBothPlaces) {
  write_contract(kByFraction);
  change_contract("role: time}", "role: time, unique: true}");
  for (std::uint64_t p = 0; p < 2; ++p)
    write_partition(fmt::format("p{}.h5", p), make_columns(50, p * 50), 50);
  EXPECT_EQ(validate(options()).fault_count, 0U);
  write_partition("p1.h5", make_columns(50, 48), 50);  // times 48 and 49 again
  const ValidateReport report = validate(options());
  ASSERT_EQ(report.fault_count, 2U);
  const std::string first = report.faults[0].what();
  EXPECT_NE(first.find("p1.h5:when[0]: the same 'when' as in "), std::string::npos) << first;
  EXPECT_NE(first.find("p0.h5:when[48]"), std::string::npos) << first;
  EXPECT_EQ(report.faults_by_field.at("when"), 2U);
}

TEST_F(ValidateRowsTest, EachSplitHasItsTimes) {
  write_contract(kByTime);
  write_partition("p.h5", make_columns(150, 0), 150);
  const ValidateReport report = validate(options());
  ASSERT_EQ(report.splits.size(), 3U);
  EXPECT_EQ(report.splits[0].times, (std::pair<double, double>(0, 49)));
  EXPECT_EQ(report.splits[1].times, (std::pair<double, double>(60, 119)));
  EXPECT_EQ(report.splits[2].times, (std::pair<double, double>(130, 149)));
}

TEST_F(ValidateRowsTest, StratifiedSharesCountTheirLabels) {
  write_contract(
      "splits: {by: fraction, stratified: true, seed: 3, train: 0.5, validation: 0.25, test: 0.25}\n");
  std::uint64_t positives = 0;
  for (std::uint64_t p = 0; p < 3; ++p) {
    const Columns columns = make_columns(77, p * 77);
    for (std::uint64_t row = 0; row < 77; ++row) positives += get<std::uint8_t>(columns, kLabel, row);
    write_partition(fmt::format("p{}.h5", p), columns, 77);
  }
  const ValidateReport report = validate(options());
  ASSERT_EQ(report.fault_count, 0U);
  EXPECT_EQ(report.rows_in_no_split, 0U);
  const double ones = static_cast<double>(positives);
  EXPECT_EQ(report.splits[0].label_counts.at("1"), static_cast<std::uint64_t>(std::llround(0.5 * ones)));
  EXPECT_EQ(report.splits[0].label_counts.at("1") + report.splits[1].label_counts.at("1"),
            static_cast<std::uint64_t>(std::llround(0.75 * ones)));
  const Dataset dataset = Dataset::open(directory());
  for (const SplitSummary& split : report.splits)
    EXPECT_EQ(dataset.row_index().rows(dataset.row_index().split(split.name)), split.rows);
}

}  // namespace
}  // namespace muster
