#pragma once
// How well a run uses its machines: operations a second, what steps wait for, memory.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "trainer/comm/communicator.h"
#include "trainer/comm/stragglers.h"
#include "trainer/runlog/progress_meter.h"

namespace muster {

/// The most floating-point operations a second of a GPU's matrix units, dense, as its maker tells; 0 where
/// that is not known here (and of a CPU). `gpu`: as CUDA names it; `precision`: as train.precision.
double peak_flops(const std::string& gpu, const std::string& precision);

/// What one rank uses now, and its GPU waited for so far.
struct RankUse {
  std::uint64_t resident_bytes = 0;
  std::uint64_t peak_bytes = 0;
  std::uint64_t gpu_peak_bytes = 0;        ///< that LibTorch held; 0 without a GPU
  std::optional<double> gpu_wait_seconds;  ///< as Communicator::gpu_wait_seconds
};

/// Of some steps; docs/events.md says what each is.
struct EfficiencyFigures {
  std::uint64_t steps = 0;
  double step_seconds = 0;
  double flops_per_step = 0;
  double flops_per_second = 0;
  std::optional<double> utilization;
  double data_share = 0;
  double communication_share = 0;
  double skew = 1;
  std::vector<std::uint64_t> resident_bytes;  ///< of each rank
  std::vector<std::uint64_t> peak_bytes;
  std::vector<std::uint64_t> gpu_peak_bytes;  ///< empty on CPUs
  std::vector<double> gpu_wait_shares;        ///< empty where no GPU sums
};

/// Sums over steps. One thread.
class Efficiency {
 public:
  /// A forward pass of this start's first step on this rank begins: once more, where the step was gone back
  /// for.
  void begin_forward() { forward_flops_ = 0; }
  /// Operations of one of its micro-batches.
  void note_forward(double flops) { forward_flops_ += flops; }
  /// Collective. After the first step, which had `rows` over all ranks. `peak`: of one rank, or 0.
  void count_operations(Communicator& comm, std::uint64_t rows, double peak);
  /// Of a row's forward and backward pass; 0: not counted yet.
  double flops_per_row() const { return flops_per_row_; }
  /// A second, of all ranks; 0: not known.
  double peak() const { return peak_; }

  /// `rows` of the step over all ranks, its `seconds` on this rank, `waited` in it, and every rank's own
  /// work.
  void note_step(std::uint64_t rows, double seconds, const Waits& waited, std::span<const StepSeconds> ranks);

  /// Collective. Of the steps since the last call, and begins anew; nothing where there was none.
  std::optional<EfficiencyFigures> take(Communicator& comm, const RankUse& mine);

 private:
  /// Of the steps since the last take().
  struct Sums {
    std::uint64_t steps = 0;
    std::uint64_t rows = 0;
    double seconds = 0;
    Waits waits;
    std::vector<double> compute;  ///< of each rank
  };
  Sums since_;
  std::vector<double> gpu_waited_;  ///< of each rank, until the last take()
  double forward_flops_ = 0;
  double flops_per_row_ = 0;
  double peak_ = 0;
};

}  // namespace muster
