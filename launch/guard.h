#pragma once
// Runs work on all ranks so that a failure on any of them ends all of them, with one line and one exit code.

#include <functional>
#include <memory>
#include <string>

#include "core/error.h"
#include "launch/ranks.h"

namespace muster {

struct GuardOptions {
  double deadline_seconds = 120;  ///< of a collective; 0: follows from the steps
  std::string deadline_key;       ///< the config's key for it, for the line that tells; "": there is none
  const RankStatus* status = nullptr;
  /// Called once with the failure that only this rank knows of, before the others are taken down, or with
  /// what the watch over all ranks found, then on all of them (`of_all`); may be empty.
  std::function<void(const Error&, bool of_all)> on_fault;
};

/// Prints the failure with rank and host and ends the job; returns when this rank is alone.
void take_down(Ranks& ranks, const GuardOptions& options, const Error& error);

/// Makes the ranks and runs `body`. What all ranks know of (AgreedError) is rethrown; another failure is
/// printed with rank and host, and ends the job.
int with_ranks(const GuardOptions& options, const std::function<int(Ranks&)>& body);

}  // namespace muster
