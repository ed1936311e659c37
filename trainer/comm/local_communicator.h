#pragma once
// Ranks as threads of this process: logic of many ranks, tested in milliseconds.

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "trainer/comm/communicator.h"

namespace muster {

struct LocalOptions {
  std::chrono::milliseconds deadline{
      30000};  ///< a rank that waits longer throws Error{kPeer} with name, number, missing ranks
  std::chrono::microseconds all_reduce_delay{
      0};  ///< each started all-reduce takes at least this long (for overlap tests)
};

/// The communicators of `world` ranks, to be used by one thread each. A collective called with another name
/// or number on some rank throws Error{kBug} on all; sums are made in rank order.
std::vector<std::unique_ptr<Communicator>> make_local_communicators(int world,
                                                                    const LocalOptions& options = {});

/// Runs `body(comm)` on `world` threads; when one throws, the others' collectives fail too, and its error is
/// rethrown.
void run_local(int world, const std::function<void(Communicator&)>& body, const LocalOptions& options = {});

}  // namespace muster
