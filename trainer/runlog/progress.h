#pragma once
// What a running training tells every few steps.

#include <cstdint>

namespace muster {

/// What a progress line shows.
struct Progress {
  std::uint64_t step = 0;
  std::uint64_t total_steps = 0;
  std::uint64_t epoch = 0;
  std::uint64_t epochs = 0;
  double loss = 0;
  double samples_per_second = 0;
  double data_share = 0;           ///< of the steps' time since the last line: waiting for data, on this rank
  double communication_share = 0;  ///< and for other ranks
  double flops_per_second = 0;     ///< of all ranks; 0: not known yet
  double utilization = 0;          ///< of the GPUs' peak; 0: not known
  double eta_seconds = 0;
};

}  // namespace muster
