#pragma once
// What this process has of the machine's memory.

#include <cstdint>

namespace muster {

struct ProcessMemory {
  std::uint64_t resident_bytes = 0;
  std::uint64_t peak_bytes = 0;  ///< the most that was resident so far
};

/// As the kernel tells it (proc(5): VmRSS and VmHWM); zeros where it does not.
ProcessMemory process_memory();

}  // namespace muster
