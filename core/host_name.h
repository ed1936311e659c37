#pragma once
// What this machine is called.

#include <string>

namespace muster {

/// As the system says; "unknown" if it does not.
std::string host_name();

}  // namespace muster
