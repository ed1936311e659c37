#pragma once
// A sum of the engine that somebody waits for.

#include <functional>
#include <memory>
#include <string_view>

#include "trainer/comm/communicator.h"
#include "trainer/comm/mpi_engine.h"

namespace muster {

/// Collective. Numbers and watches a sum that `advance` moves (as MpiEngine::start_moved), and lets the
/// progress thread move it, which may look once more after the end: `advance` keeps what it looks at.
std::unique_ptr<PendingReduce> start_moved_sum(std::shared_ptr<MpiEngine> engine, std::string_view name,
                                               std::function<SharedSum::Progress(MpiOperation&)> advance);
/// Of one that was started: lets the progress thread move it.
std::unique_ptr<PendingReduce> pending_reduce(std::shared_ptr<MpiEngine> engine,
                                              std::shared_ptr<MpiOperation> operation);

}  // namespace muster
