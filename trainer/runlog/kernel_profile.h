#pragma once
// Where the time of a piece of work goes: LibTorch's profiler (Kineto) over operators and a GPU's kernels.

#include <chrono>
#include <string>
#include <vector>

#include "core/json.h"

namespace muster {

/// What a GPU did from when until when.
struct KernelSpan {
  std::string name;
  std::uint64_t stream = 0;
  std::chrono::system_clock::time_point from;
  std::chrono::system_clock::time_point until;
};

/// Profiles what this thread, and autograd for it, does while it lives. One at a time in a process.
class KernelProfile {
 public:
  enum class Of { kOperators, kOperatorsAndKernels, kKernels };
  /// Kernels are a GPU's, and its copies.
  explicit KernelProfile(Of of);
  ~KernelProfile();
  KernelProfile(const KernelProfile&) = delete;
  KernelProfile& operator=(const KernelProfile&) = delete;

  /// Ends it. [{name, count, ms}] of the kernels (where there are none: of the operators, without what they
  /// call), longest first. `file`: everything goes there, for Perfetto. Error{kData} where it cannot be
  /// written.
  Json finish(const std::string& file);
  /// Ends it. The kernels, by when they began.
  std::vector<KernelSpan> finish_kernels();

 private:
  Of of_;
  bool running_ = true;
};

}  // namespace muster
