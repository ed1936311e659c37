#pragma once
// Floats that the ranks of one host sum in memory that they share.

#include <memory>

#include "trainer/comm/communicator.h"
#include "trainer/comm/mpi_engine.h"
#include "trainer/comm/shared_parts.h"

namespace muster {

/// A SharedSum, numbered and watched by the engine. `shared`: see share_parts.
std::unique_ptr<SumBuffer> make_shared_sum_buffer(std::shared_ptr<MpiEngine> engine, SharedParts shared);

}  // namespace muster
