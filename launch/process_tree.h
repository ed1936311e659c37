#pragma once
// The processes that a process has started.

#include <sys/types.h>

#include <vector>

namespace muster {

/// Children, their children, and so on, as /proc has them now; the process itself is not among them.
std::vector<pid_t> descendants(pid_t process);

}  // namespace muster
