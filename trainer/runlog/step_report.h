#pragma once
// What the ranks tell each other in every step: loss, digest, and the verdict all act on at the same step.

#include <cstdint>
#include <string>
#include <vector>

#include "core/hash.h"
#include "trainer/comm/communicator.h"
#include "trainer/comm/stragglers.h"

namespace muster {

/// One rank's part.
struct StepReport {
  double loss = 0;    ///< sum of weighted losses
  double weight = 0;  ///< sum of weights
  std::uint64_t rows = 0;
  Digest digest;
  std::uint8_t stop = 0;  ///< a StopReason
  bool save = false;
  std::uint64_t passed_over = 0;  ///< of the rows: bad ones, with weight 0
  bool without_batch = false;     ///< a stop was wanted before the data came: this step is not done
  StepSeconds seconds;
};

/// The sum over the ranks, made in rank order, hence the same on all of them.
struct StepTotals {
  double loss = 0;
  double weight = 0;
  std::uint64_t rows = 0;
  std::uint64_t passed_over = 0;
  Digest digest;
  std::uint8_t stop = 0;  ///< the greatest of the ranks'
  bool save = false;
  int first_without_batch = -1;         ///< lowest rank without one, or -1
  int first_not_finite = -1;            ///< lowest rank whose loss is not finite, or -1
  std::vector<std::string> checkpoint;  ///< [rank] news of the checkpoint under way
  std::vector<std::string> bad_rows;    ///< [rank] bad_rows_text
  std::vector<StepSeconds> seconds;     ///< [rank]
};

/// What else a rank may have to tell.
struct StepNews {
  std::string checkpoint;
  std::string bad_rows;
};

/// Collective.
StepTotals exchange_reports(Communicator& comm, const StepReport& mine, const StepNews& news = {});

}  // namespace muster
