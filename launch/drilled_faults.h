#pragma once
// What can happen to a training, for `muster selftest faults`.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/child_process.h"
#include "core/random.h"

namespace muster {

/// A running training that a fault may do something to.
struct Victim {
  std::filesystem::path scratch;  ///< of this fault alone
  std::filesystem::path data;
  std::filesystem::path run;  ///< the run directory
  ChildProcess* ranks = nullptr;
  RandomStream* random = nullptr;
};

/// What happens, and what must follow.
struct DrilledFault {
  std::string name;
  std::string drill;                          ///< of `muster train --drill`; "": none
  std::vector<std::string> settings;          ///< SECTION.KEY=VALUE
  std::function<void(const Victim&)> before;  ///< to the finished first half of a run, before its second
  std::function<void(const Victim&)> during;  ///< after the twentieth step
  std::vector<int> codes;                     ///< any of these, as `muster launch` maps them
  std::string line;                           ///< a regular expression that the output must have
  std::string and_line;                       ///< and this
  double seconds = 60;                        ///< from the fault to the end, at most
  std::vector<std::string> command;  ///< instead of the usual one; {CONFIG}, {MUSTER}, {SCRATCH} in it
  bool goes_on = true;               ///< the same command goes on afterwards
};

/// By its events; 0 before the first.
std::uint64_t last_step(const std::filesystem::path& run);

/// All of them; their places in the list are the numbers that replay them.
std::vector<DrilledFault> drilled_faults();

}  // namespace muster
