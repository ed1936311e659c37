#include "core/keep_memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <cstring>

namespace muster {
namespace {

/// Page faults that a large block costs when it is written to; it is freed again.
long faults_of_a_block() {
  constexpr std::size_t kBytes = std::size_t{64} << 20;
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  void* const block = std::malloc(kBytes);
  std::memset(block, 1, kBytes);
  EXPECT_EQ(static_cast<char*>(block)[kBytes - 1], 1);  // so that it is written to
  std::free(block);
  getrusage(RUSAGE_SELF, &after);
  return after.ru_minflt - before.ru_minflt;
}

TEST(KeepMemory, AFreedBlockIsThereForTheNextOne) {
#if !defined(__GLIBC__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "another allocator";
#endif
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "another allocator";
#endif
#endif
  faults_of_a_block();
  const long given_back = faults_of_a_block();
  keep_freed_memory();
  faults_of_a_block();
  const long kept = faults_of_a_block();
  EXPECT_GT(given_back, 10);  // pages may be large ones
  EXPECT_LT(kept, given_back / 4);
}

}  // namespace
}  // namespace muster
