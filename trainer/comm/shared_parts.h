#pragma once
// Where the ranks of one host put what they sum.

#include <memory>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/shared_memory.h"
#include "trainer/comm/communicator.h"
#include "trainer/comm/shared_sum.h"

namespace muster {

/// All ranks' floats, as this rank sees them.
struct SharedParts {
  std::vector<std::unique_ptr<SharedMemory>> memories;  ///< by rank
  std::vector<SharedSum::Part> parts;                   ///< by rank, in the memories
};

/// Collective. `count` floats of each rank, zeros, in memory that all ranks of `comm` see; each rank's lie
/// near the processor that it runs on. Where one cannot share: its Error, the same on all ranks.
Result<SharedParts> share_parts(Communicator& comm, std::string_view name, std::size_t count);

}  // namespace muster
