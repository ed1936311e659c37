#pragma once
// Compiles the device code (device/).

#include <compare>
#include <string>
#include <vector>

namespace muster {

/// A file of device/ and what is defined in it.
struct KernelProgram {
  std::string file;                      ///< without .cu
  std::vector<std::string> definitions;  ///< "NAME=VALUE"
  auto operator<=>(const KernelProgram&) const = default;
};

/// Code for GPUs of the compute capability `major`.`minor`. Takes some tenths of a second. Error{kBug} with
/// the compiler's words.
std::string compile(const KernelProgram& program, int major, int minor);

}  // namespace muster
