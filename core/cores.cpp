#include "core/cores.h"

#include <sched.h>

#include <algorithm>
#include <thread>

namespace muster {

unsigned usable_cores() {
  cpu_set_t mask;
  const bool known = ::sched_getaffinity(0, sizeof(mask), &mask) == 0;  // not beyond 1024 cores
  const unsigned cores =
      known ? static_cast<unsigned>(CPU_COUNT(&mask)) : std::thread::hardware_concurrency();
  return std::max(1U, cores);
}

}  // namespace muster
