// Stops that come while a rank waits for its data.

#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>

#include "data_loader/reading/hooked_block_reader.h"
#include "tests/trainer/training_case.h"

namespace muster::testing {
namespace {

/// Reads go through it until it shuts; then they stand still until it opens.
class Gate {
 public:
  explicit Gate(int reads) : left_(reads) {}
  void pass() {
    std::unique_lock lock(mutex_);
    if (left_-- > 0) return;
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  /// False if it was over before.
  bool await_reader(const std::stop_token& over) {
    std::unique_lock lock(mutex_);
    return changed_.wait(lock, over, [&] { return waiting_ > 0; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  int left_;
  int waiting_ = 0;
  bool open_ = false;
};

class SlowRead : public Training {
 protected:
  std::vector<std::string> with(const std::string& name, const std::string& split) const {
    return {"run.name=" + name, "evaluate.split=" + split, "loader.memory=160KiB"};
  }

  /// Trains undisturbed; how many reads each rank makes before its first step, and in all.
  struct Undisturbed {
    TrainResult result;
    std::array<int, 2> before{};
    std::array<int, 2> all{};
    /// So many of a rank's reads that a share of those in training is made.
    int reads(int rank, double share) const {
      const auto i = static_cast<std::size_t>(rank);
      return before[i] + static_cast<int>(share * (all[i] - before[i]));
    }
  };
  Undisturbed whole(const std::vector<std::string>& overrides) {
    Undisturbed seen;
    std::array<std::atomic<int>, 2> reads{};
    adjust_ = [&](TrainOptions& options, int rank) {
      const auto i = static_cast<std::size_t>(rank);
      options.wrap_reader = [&reads, i](std::unique_ptr<BlockReader> inner) {
        return make_hooked_block_reader(std::move(inner),
                                        [&reads, i](std::uint32_t, std::size_t) { ++reads[i]; });
      };
      options.on_run = [&seen, &reads, i](const std::string&, const std::string&, std::uint64_t) {
        seen.before[i] = reads[i];
      };
    };
    seen.result = run(2, overrides);
    adjust_ = {};
    for (std::size_t i = 0; i < 2; ++i) {
      seen.all[i] = reads[i];
      EXPECT_GT(seen.all[i], seen.before[i] + 20);
    }
    return seen;
  }

  struct Stopped {
    TrainResult result;
    bool kept = false;  ///< a read had not come back
    RankPhase phase{};  ///< of rank 1 when it was asked to stop
  };

  /// A rank's reads stand still after so many; once it has not moved for a while it is asked to stop. They
  /// come back when all is over. `early`: it is asked while it still has batches.
  Stopped stopped(const std::vector<std::string>& overrides, int slow_rank, int reads, bool early = false) {
    Gate gate(reads);
    StopRequests request;
    RankStatus status;
    Stopped outcome;
    std::shared_ptr<void> kept;
    struct OpenAtTheEnd {  // however it comes: what is kept waits for its reads
      Gate& gate;
      ~OpenAtTheEnd() { gate.open(); }
    } const opens{gate};
    std::jthread asks([&](const std::stop_token& over) {
      if (!gate.await_reader(over)) return;
      for (std::uint64_t still = 0, step = 0; !early && still < 30 && !over.stop_requested(); ++still) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        if (step != status.steps_done.load()) still = 0;
        step = status.steps_done.load();
      }
      outcome.phase = status.phase.load();
      request.stop = true;
    });
    run_local(2, [&](Communicator& comm) {
      TrainOptions options(config(overrides));
      if (comm.rank() == slow_rank) {
        options.requests = &request;
        options.status = &status;
        options.wrap_reader = [&](std::unique_ptr<BlockReader> inner) {
          return make_hooked_block_reader(std::move(inner), [&](std::uint32_t, std::size_t) { gate.pass(); });
        };
        options.keep_reading = [&](std::shared_ptr<void> used) { kept = std::move(used); };
      }
      const TrainResult ours = train(comm, *files_, options);
      if (comm.rank() == slow_rank) outcome.result = ours;
    });
    gate.open();
    outcome.kept = kept != nullptr;
    kept.reset();
    return outcome;
  }
};

TEST_F(SlowRead, AStopDoesNotWaitForTheBatch) {
  model_ = "{name: spoiled}";  // whose buffer counts forward passes: no rank may be ahead of another
  const Undisturbed undisturbed = whole(with("whole", "''"));
  // At the very first batch, and on the way; on either rank.
  for (const int slow_rank : {0, 1}) {
    for (const double share : {0.0, 0.3, 0.6}) {
      const auto overrides = with(fmt::format("cut-{}-{}", slow_rank, share), "''");
      const auto cut = stopped(overrides, slow_rank, undisturbed.reads(slow_rank, share));
      EXPECT_EQ(cut.result.outcome, TrainOutcome::kStopped);
      EXPECT_EQ(cut.result.stop_reason, "signal");
      EXPECT_EQ(cut.phase, RankPhase::kData);
      EXPECT_TRUE(cut.kept);
      const auto resumed = run(3, overrides);
      EXPECT_EQ(resumed.outcome, TrainOutcome::kFinished);
      EXPECT_EQ(resumed.running_digest, undisturbed.result.running_digest);
    }
  }
}

TEST_F(SlowRead, NorForAReadWhoseBatchIsNotWantedYet) {
  const Undisturbed undisturbed = whole(with("whole", "''"));
  const auto overrides = with("cut", "''");
  const auto cut = stopped(overrides, 1, undisturbed.reads(1, 0.5), /*early=*/true);
  EXPECT_EQ(cut.result.outcome, TrainOutcome::kStopped);
  EXPECT_TRUE(cut.kept);
  EXPECT_EQ(run(3, overrides).running_digest, undisturbed.result.running_digest);
}

TEST_F(SlowRead, AStopWhileThePipelineIsFittedEndsAllRanksWithNothingBegun) {
  StopRequests request;
  request.stop = true;
  adjust_ = [&](TrainOptions& options, int rank) {
    if (rank == 1) options.requests = &request;
  };
  try {
    run(3, with("run", "''"));
    ADD_FAILURE() << "it went on";
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCheckpointed);
  }
  EXPECT_FALSE(files_->exists(run_directory()));
}

TEST_F(SlowRead, AnEvaluationStopsTooAndIsMadeUpFor) {
  const Undisturbed undisturbed = whole(with("whole", "validation"));
  std::size_t in_evaluation = 0;
  for (int tenth = 1; tenth < 10; ++tenth) {
    const auto overrides = with("cut-" + std::to_string(tenth), "validation");
    const auto cut = stopped(overrides, tenth % 2, undisturbed.reads(tenth % 2, 0.1 * tenth));
    EXPECT_EQ(cut.result.outcome, TrainOutcome::kStopped);
    EXPECT_EQ(cut.result.stop_reason, "signal");
    EXPECT_TRUE(cut.kept);
    in_evaluation += cut.phase == RankPhase::kEvaluate;
    const auto resumed = run(2, overrides);
    EXPECT_EQ(resumed.running_digest, undisturbed.result.running_digest);
    EXPECT_EQ(resumed.metrics, undisturbed.result.metrics);
  }
  std::cout << in_evaluation << " of 9 stopped in an evaluation\n";
  EXPECT_GT(in_evaluation, 0U);
}

}  // namespace
}  // namespace muster::testing
