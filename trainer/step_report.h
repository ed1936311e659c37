#pragma once
// What the ranks tell each other in every step: loss, digest, and the verdict all act on at the same step.

#include <cstdint>
#include <string>
#include <vector>

#include "core/hash.h"
#include "trainer/communicator.h"

namespace muster {

/// One rank's part.
struct StepReport {
  double loss = 0;    ///< sum of weighted losses
  double weight = 0;  ///< sum of weights
  std::uint64_t rows = 0;
  Digest digest;
  std::uint8_t stop = 0;  ///< a StopReason
  bool save = false;
};

/// The sum over the ranks, made in rank order, hence the same on all of them.
struct StepTotals {
  double loss = 0;
  double weight = 0;
  std::uint64_t rows = 0;
  Digest digest;
  std::uint8_t stop = 0;  ///< the greatest of the ranks'
  bool save = false;
  int first_not_finite = -1;      ///< lowest rank whose loss is not finite, or -1
  std::vector<std::string> news;  ///< [rank]
};

/// Collective. `news`: what else this rank has to tell, by all ranks in StepTotals::news.
StepTotals exchange_reports(Communicator& comm, const StepReport& mine, const std::string& news = "");

}  // namespace muster
