#pragma once
// How ranks of this host are started.

#include <cstdint>
#include <string>
#include <vector>

namespace muster {

/// `mpirun` with its options for so many ranks; the program and its arguments come behind.
std::vector<std::string> mpirun_command(const std::string& mpirun, std::uint64_t ranks,
                                        const std::vector<std::string>& options);
/// What mpirun must find in its environment, as "NAME=value".
std::vector<std::string> mpirun_environment();

}  // namespace muster
