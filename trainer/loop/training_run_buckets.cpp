// Sizes of gradient buckets by trial: train.bucket_bytes 0, before a run's first checkpoint.

#include <algorithm>
#include <array>
#include <limits>

#include "core/text.h"
#include "trainer/comm/agreement.h"
#include "trainer/comm/benchmark_times.h"
#include "trainer/loop/training_run.h"

namespace muster {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::array kSizes{1 * kMiB, 4 * kMiB, 16 * kMiB, 64 * kMiB};
constexpr int kPasses = 3;  // of each size; the fastest counts

}  // namespace

/// Collective. Passes forward and backward over the first batch, whose gradients and statistics are worth
/// nothing; then the size that the slowest rank was fastest with. The first checkpoint has the plan. Nothing
/// where some rank has no batch: its first step says why.
void TrainingRun::tune_buckets() {
  data_->stream->wait([&] { return stop_wanted(/*waits=*/true) != StopReason::kNone; });
  const Batch* const batch = data_->stream->ahead();
  if (smallest(comm_, "bucket sizes", batch != nullptr ? 1 : 0) == 0 || batch == nullptr) return;
  phase(RankPhase::kCompute);
  buffers_->save();
  const auto pass = [&] {
    const auto began = Clock::now();
    static_cast<void>(forward_backward(*batch));
    reducer_->finish(1);
    static_cast<void>(optimizer_->clip(0));  // its norm comes when a GPU is done with all of that
    return std::chrono::duration<double>(Clock::now() - began).count();
  };
  pass();
  reducer_->replan_once();
  Json tried = Json::array();
  double best = std::numeric_limits<double>::infinity();
  std::uint64_t chosen = BucketLimits().bytes;
  BucketPlan before;
  for (const std::uint64_t bytes : kSizes) {
    reducer_->resize(bucket_limits(bytes));
    if (reducer_->plan() == before) break;  // larger ones change nothing any more
    before = reducer_->plan();
    double mine = std::numeric_limits<double>::infinity();
    for (int i = 0; i < kPasses; ++i) mine = std::min(mine, pass());
    const double seconds = slowest(comm_, mine);
    tried.push_back({{"bytes", bytes}, {"buckets", before.buckets.size()}, {"seconds", seconds}});
    if (seconds < best) {
      best = seconds;
      chosen = bytes;
    }
  }
  reducer_->resize(bucket_limits(chosen));
  batch_norms_.clear();
  buffers_->restore();
  phase(RankPhase::kBetweenSteps);
  event("buckets_tuned", {{"bucket_bytes", chosen}, {"tried", tried}});
  if (comm_.rank() == 0)
    options_.log(LogLevel::kInfo, fmt::format("gradients are summed in buckets of up to {}: a pass takes {}",
                                              human_bytes(chosen), human_seconds(best)));
}

}  // namespace muster
