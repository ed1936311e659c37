#include "core/process_memory.h"

#include <fstream>
#include <string>

#include "core/text.h"

namespace muster {

ProcessMemory process_memory() {
  ProcessMemory memory;
  std::ifstream file("/proc/self/status");
  std::string line;
  const auto kibibytes = [&](std::string_view key) {
    return std::uint64_t{1024} *
           static_cast<std::uint64_t>(
               leading_integer(trim(std::string_view(line).substr(key.size()))).value_or(0));
  };
  while (std::getline(file, line)) {
    if (line.starts_with("VmRSS:")) memory.resident_bytes = kibibytes("VmRSS:");
    if (line.starts_with("VmHWM:")) memory.peak_bytes = kibibytes("VmHWM:");
  }
  return memory;
}

}  // namespace muster
