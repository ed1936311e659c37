#pragma once
// What a training does with rows that turn out bad: the rule, and how ranks tell each other of them.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data_loader/dataset/quarantine.h"
#include "data_loader/stream/batch_stream.h"
#include "trainer/config/config.h"

namespace muster {

struct BadRowRule {
  bool quarantine = false;  ///< else they end the run
  double most = 0.01;       ///< share of the dataset's rows; with more the run ends all the same
};
BadRowRule bad_row_rule(const Config& config);

/// What a rank found, as a text for the others; "" for nothing. And back again: of all ranks, in their order.
std::string bad_rows_text(std::span<const BadRows> found);
std::vector<BadRows> bad_rows_of(std::span<const std::string> by_rank);

/// The stream's options, with this policy where the rule is to quarantine.
StreamOptions with_quarantine(StreamOptions options, const BadRowRule& rule, BadRowPolicy policy,
                              const Quarantine& quarantine);

}  // namespace muster
