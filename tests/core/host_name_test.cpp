// The machine's name, beside what the kernel says.
#include "core/host_name.h"

#include <gtest/gtest.h>

#include <fstream>

namespace muster {
namespace {

TEST(HostName, IsTheKernels) {
  std::ifstream file("/proc/sys/kernel/hostname");
  std::string name;
  ASSERT_TRUE(std::getline(file, name));
  EXPECT_FALSE(name.empty());
  EXPECT_EQ(host_name(), name);
}

}  // namespace
}  // namespace muster
