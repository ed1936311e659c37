#pragma once
// Cores that a process may use.

namespace muster {

/// Those of its affinity mask (taskset, a scheduler's binding, a container's set), at least 1.
unsigned usable_cores();

}  // namespace muster
