// Partitions that go bad while a run trains on them: refused by name, or passed over with every other row
// used exactly once, also over resumes on other numbers of ranks.
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "data_loader/dataset/dataset.h"
#include "data_loader/dataset/quarantine.h"
#include "tests/trainer/training_case.h"

namespace muster {
namespace {

using testing::steps_per_epoch;
using testing::Training;

class BadPartition : public Training {
 protected:
  std::vector<std::string> with(const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"run.name=run", "data.on_bad_rows=quarantine", "data.most_bad_rows=0.5",
                                    "checkpoint.every_steps=10"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::filesystem::path partition(int number) const { return data() / fmt::format("part-{:05}.h5", number); }
  /// Its second half is gone, as after a copy that was cut off.
  void truncate(int number) const {
    std::filesystem::resize_file(partition(number), std::filesystem::file_size(partition(number)) / 2);
  }
  std::vector<Json> events(const std::string& run, const std::string& name) const {
    std::vector<Json> found;
    for (const Json& event : read_events(*files_, scratch_ / "runs" / run / "events.jsonl")) {
      if (event.at("event") == name) found.push_back(event);
    }
    return found;
  }
  /// [step] digest and rows passed over; a step that was done twice (resumed) as it was done last.
  std::map<std::uint64_t, std::pair<std::string, std::uint64_t>> steps(const std::string& run) const {
    std::map<std::uint64_t, std::pair<std::string, std::uint64_t>> by_step;
    for (const Json& event : events(run, "step"))
      by_step[event.at("step")] = {event.at("digest"), event.at("passed_over")};
    return by_step;
  }
  Json newest_state(const std::string& run) const {
    CheckpointStore store(*files_, scratch_ / "runs" / run / "checkpoints", "");
    return store.latest_good().checkpoint->manifest.at("state");
  }
  std::vector<TensorBlob> weights(const std::string& run) const {
    CheckpointStore store(*files_, scratch_ / "runs" / run / "checkpoints", "");
    return load_checkpoint(*files_, store.latest_good().checkpoint->directory).value().model;
  }
};

std::string text_of(const std::vector<TensorBlob>& tensors) {
  std::string text;
  for (const TensorBlob& tensor : tensors)
    text.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  return text;
}

TEST_F(BadPartition, IsPassedOverAndTheRestIsUsedOnceOnAnyNumberOfRanks) {
  const TrainResult undisturbed = run(2, with({"run.name=undisturbed"}));
  const auto order = steps("undisturbed");
  const std::uint64_t each = steps_per_epoch(undisturbed);
  for (const auto& [step, did] : order) EXPECT_EQ(did.second, 0U);

  // Stopped in the first epoch; then the file is cut off; on with other ranks, stopped again, and to the end.
  for (const std::string run_name : {"once", "twice"}) {
    make_data("tabular");
    ASSERT_EQ(run(2, with({"run.name=" + run_name}), each / 2).outcome, TrainOutcome::kStopped);
    const std::filesystem::path kept = scratch_ / "kept.h5";
    std::filesystem::copy_file(partition(1), kept, std::filesystem::copy_options::overwrite_existing);
    truncate(1);
    if (run_name == "twice") {
      ASSERT_EQ(run(3, with({"run.name=" + run_name}), each + 7).outcome, TrainOutcome::kStopped);
      EXPECT_GT(newest_state(run_name).at("quarantine").size(), 0U);
      // Whole again: what was passed over is passed over all the same.
      std::filesystem::copy_file(kept, partition(1), std::filesystem::copy_options::overwrite_existing);
    }
    const TrainResult result = run(run_name == "twice" ? 1 : 3, with({"run.name=" + run_name}));
    EXPECT_EQ(result.outcome, TrainOutcome::kFinished);
    EXPECT_EQ(result.running_digest, undisturbed.running_digest) << "no row changed its place";
    const auto did = steps(run_name);
    ASSERT_EQ(did.size(), order.size());
    std::vector<std::uint64_t> passed_over(3);
    for (const auto& [step, got] : did) {
      EXPECT_EQ(got.first, order.at(step).first) << step;
      passed_over[(step - 1) / each] += got.second;
    }
    // What is bad is bad in every epoch, and nothing else is: the rows of the training split in those blocks.
    Quarantine bad;
    bad.restore(newest_state(run_name).at("quarantine"));
    const Dataset dataset = Dataset::open(data(), {}, Dataset::Damaged::kTolerate);
    EXPECT_EQ(dataset.damage().size(), run_name == "once" ? 1U : 0U);
    const RowIndex& index = dataset.row_index();
    std::uint64_t expected = 0;
    for (std::uint32_t block = 0; block < index.blocks().size(); ++block) {
      for (const std::uint32_t row : index.rows_of(index.split("train"), block)) {
        const Block& where = index.blocks()[block];
        expected += bad.contains(where.partition, where.first_row + row) ? 1 : 0;
      }
    }
    EXPECT_GT(expected, 100U);
    EXPECT_LE(passed_over[0], expected);
    EXPECT_EQ(passed_over[1], expected);
    EXPECT_EQ(passed_over[2], expected);
    const auto told = events(run_name, "rows_passed_over");
    ASSERT_GT(told.size(), 0U);
    for (const Json& event : told) {
      EXPECT_EQ(event.at("partition"), 1);
      EXPECT_NE(event.at("reason").get<std::string>().find("part-00001.h5"), std::string::npos) << event;
    }
    EXPECT_GT(events(run_name, "evaluated").back().at("metrics").at("passed_over"), 0);
  }
}

TEST_F(BadPartition, KilledAndResumedOnTheSameRanksGivesTheSameBits) {
  // The file is bad from the same step on in both: before a start that goes on.
  std::string bits;
  for (const bool killed : {false, true}) {
    make_data("tabular");
    const std::string name = killed ? "killed" : "whole";
    const std::uint64_t each = steps_per_epoch(run(2, with({"run.name=" + name}), 12));
    truncate(2);
    if (killed) {
      for (const std::uint64_t stop : {each - 3, each + 20, 2 * each + 1})
        ASSERT_EQ(run(2, with({"run.name=" + name}), stop).outcome, TrainOutcome::kStopped);
    }
    EXPECT_EQ(run(2, with({"run.name=" + name})).outcome, TrainOutcome::kFinished);
    const std::string now = text_of(weights(name));
    EXPECT_FALSE(now.empty());
    EXPECT_TRUE(!killed || now == bits);
    bits = now;
  }
}

TEST_F(BadPartition, IsTheEndUnlessQuarantineIsWanted) {
  const std::vector<std::string> refuse = {"run.name=run"};
  ASSERT_EQ(run(2, refuse, 9).outcome, TrainOutcome::kStopped);
  truncate(0);
  try {
    run(2, refuse);
    FAIL() << "it went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
    EXPECT_NE(std::string(error.what()).find("part-00000.h5: changed since"), std::string::npos)
        << error.what();
  }
  // Nor does a run begin with a file that is bad.
  try {
    run(2, with({"run.name=new"}));
    FAIL() << "it began";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
  }
}

TEST_F(BadPartition, TooManyBadRowsEndTheRun) {
  ASSERT_EQ(run(2, with({}), 9).outcome, TrainOutcome::kStopped);
  std::filesystem::remove(partition(1));
  try {
    run(2, with({"data.most_bad_rows=0.1"}));
    FAIL() << "it went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
    for (const char* const word : {"of 3,000 rows are bad", "data.most_bad_rows (0.1)", "part-00001.h5"})
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

TEST_F(BadPartition, ALowerLimitCountsForWhatWasPassedOverBefore) {
  const std::uint64_t each = steps_per_epoch(run(2, with({}), 9));
  truncate(1);
  ASSERT_EQ(run(2, with({}), each + 5).outcome, TrainOutcome::kStopped);
  EXPECT_THROW(run(2, with({"data.most_bad_rows=0.001"})), Error);
  EXPECT_EQ(run(2, with({})).outcome, TrainOutcome::kFinished);
}

TEST_F(BadPartition, OneThatIsOverwrittenWhileItIsReadIsNoticedByItsHashes) {
  // Another dataset's file of the same shape comes in its place between two epochs.
  const std::filesystem::path other = scratch_ / "other.h5";
  {
    GenerateOptions generate_options;
    generate_options.kind = "tabular";
    generate_options.rows = 3000;
    generate_options.partitions = 3;
    generate_options.seed = 99;
    generate_options.out = scratch_ / "other";
    generate(generate_options);
    std::filesystem::copy_file(scratch_ / "other" / "part-00001.h5", other);
  }
  TrainResult result;
  run_local(2, [&](Communicator& comm) {
    TrainOptions options(config(with({})));
    options.progress = [&](const Progress& progress) {
      if (progress.step != 12 || comm.rank() != 0) return;
      std::ifstream from(other, std::ios::binary);
      std::ofstream to(partition(1),
                       std::ios::binary | std::ios::in | std::ios::out);  // in place: the same inode
      to << from.rdbuf();
    };
    const TrainResult ours = train(comm, *files_, options);
    if (comm.rank() == 0) result = ours;
  });
  EXPECT_EQ(result.outcome, TrainOutcome::kFinished);
  const auto told = events("run", "rows_passed_over");
  ASSERT_GT(told.size(), 0U);
  for (const Json& event : told) {
    EXPECT_EQ(event.at("partition"), 1);
    EXPECT_NE(event.at("reason").get<std::string>().find("part-00001.h5"), std::string::npos);
  }
  std::uint64_t passed_over = 0;
  for (const auto& [step, did] : steps("run")) passed_over += did.second;
  EXPECT_GT(passed_over, 0U);
}

}  // namespace
}  // namespace muster
