#include "core/cores.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

namespace muster {
namespace {

TEST(Cores, AreThoseOfTheAffinityMask) {
  const unsigned all = usable_cores();
  EXPECT_GE(all, 1U);
  EXPECT_LE(all, std::thread::hardware_concurrency());
  unsigned bound = 0;
  std::thread([&] {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    CPU_SET(static_cast<unsigned>(::sched_getcpu()), &mask);
    ASSERT_EQ(::sched_setaffinity(0, sizeof(mask), &mask), 0);
    bound = usable_cores();
  }).join();
  EXPECT_EQ(bound, 1U);
  EXPECT_EQ(usable_cores(), all);
}

}  // namespace
}  // namespace muster
