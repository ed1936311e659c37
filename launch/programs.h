#pragma once
// Where our other programs are.

#include <filesystem>

namespace muster {

/// This executable.
std::filesystem::path own_program();

/// muster-probe: $MUSTER_PROBE, beside this executable, or where it was installed. Error{kConfig} says where
/// it looked.
std::filesystem::path probe_program();

}  // namespace muster
