#pragma once
// Names that nothing else has.

#include <string>

namespace muster {

/// 16 hexadecimal digits from the system's randomness.
std::string random_id();

}  // namespace muster
