// Every operation of a run's life, every fault: the promises about checkpoints hold. MUSTER_TEST_FULL: more
// of what a crash may leave.
#include "trainer/bench/crash_trial.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <set>

namespace muster {
namespace {

bool full() {
  const char* value = std::getenv("MUSTER_TEST_FULL");
  return value != nullptr && std::string(value) == "1";
}

TEST(CrashTrial, EveryOperationWithEveryFault) {
  const std::vector<std::string> sites = crash_sites();
  std::map<std::string, int> hits;
  std::uint32_t seed = 1;
  for (std::uint64_t operation = 0; operation < sites.size(); ++operation) {
    for (const FileFault fault :
         {FileFault::kCrashBefore, FileFault::kCrashAfter, FileFault::kTornWrite, FileFault::kNoSpace,
          FileFault::kIoError, FileFault::kFlippedBit, FileFault::kLostSync}) {
      for (int repeat = 0; repeat < (full() ? 8 : 1); ++repeat) {
        CrashTrial trial{operation, fault, CrashKeeps::kSome, ++seed};
        if (repeat == 1) trial.keeps = CrashKeeps::kSynced;
        if (repeat == 2) trial.keeps = CrashKeeps::kEverything;
        const CrashVerdict verdict = run_crash_trial(trial);
        for (const std::string& line : verdict.broken) {
          ADD_FAILURE() << sites[operation] << " (" << operation << "), fault " << static_cast<int>(fault)
                        << ", seed " << seed << ": " << line;
        }
        if (HasFailure()) return;
        ++hits["trials"];
        if (verdict.crashed) ++hits["crashes"];
        if (verdict.failures > 0) ++hits["errors"];
        if (verdict.commits == 9) ++hits["all commits went well"];
      }
    }
  }
  for (const std::string name : {"trials", "crashes", "errors", "all commits went well"}) {
    std::printf("%s: %d\n", name.c_str(), hits[name]);
    EXPECT_GT(hits[name], 100) << name;
  }
  const std::set<std::string> distinct(sites.begin(), sites.end());
  std::printf("%zu operations at %zu sites\n", sites.size(), distinct.size());
  EXPECT_GT(distinct.size(), 40U);
}

TEST(CrashTrial, AnOrphanThatStandsStillBeforeAnyOperation) {
  const std::uint64_t operations = orphan_operations();
  EXPECT_GT(operations, 100U);
  for (std::uint64_t operation = 0; operation < operations; ++operation) {
    for (const bool commits : {false, true}) {
      const CrashVerdict verdict = run_orphan_trial(operation, commits);
      for (const std::string& line : verdict.broken)
        ADD_FAILURE() << "operation " << operation << (commits ? ", commits: " : ", dies: ") << line;
    }
  }
}

}  // namespace
}  // namespace muster
