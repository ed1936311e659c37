#pragma once
// The promises about checkpoints, tried: the life of a run on a file system that fails at a chosen operation.

#include <cstdint>
#include <string>
#include <vector>

#include "core/faulty_file_system.h"

namespace muster {

/// One fault at one operation of a run's life: three starts that resume each other, some with two ranks.
struct CrashTrial {
  std::uint64_t operation = 0;
  FileFault fault = FileFault::kCrashBefore;
  CrashKeeps keeps = CrashKeeps::kSome;  ///< what a crash, or the power cut at the end, leaves
  std::uint32_t seed = 0;                ///< of what it leaves
};

struct CrashVerdict {
  std::vector<std::string> broken;  ///< promises that did not hold, a line each
  bool crashed = false;
  int commits = 0;   ///< that were reported as done
  int failures = 0;  ///< commits and starts that ended with an error
};

/// The operations of that life where nothing fails, with numbers of generations and steps taken out:
/// "append …/model-00001-of-00001.safetensors".
std::vector<std::string> crash_sites();

/// Checked after the fault, after a power cut, and after one more start: the newest checkpoint that was
/// reported as committed, or a later one, is chosen, and holds what was written; no half one lies under a
/// checkpoint's name; the run can go on. Of a sync that lied the checkpoint in whose commit it did is allowed
/// to be lost.
CrashVerdict run_crash_trial(const CrashTrial& trial);

/// A start that stands still before this operation of its commits while another claims the run, and commits
/// or
/// (`successor_commits` false) dies at once; then it goes on. Never is one chosen that the first start
/// published after the claim, and it ends with kNothingToDo.
CrashVerdict run_orphan_trial(std::uint64_t operation, bool successor_commits);
/// How many operations the commits of run_orphan_trial have.
std::uint64_t orphan_operations();

}  // namespace muster
