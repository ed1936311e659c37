#pragma once
// Where the time of a piece of work goes: LibTorch's profiler (Kineto) over operators and a GPU's kernels.

#include <string>

#include "core/json.h"

namespace muster {

/// Profiles what this thread, and autograd for it, does while it lives. One at a time in a process.
class KernelProfile {
 public:
  /// `gpu`: with its kernels and copies.
  explicit KernelProfile(bool gpu);
  ~KernelProfile();
  KernelProfile(const KernelProfile&) = delete;
  KernelProfile& operator=(const KernelProfile&) = delete;

  /// Ends it. [{name, count, ms}] of the kernels (without a GPU: of the operators, without what they call),
  /// longest first. `file`: everything goes there, for Perfetto. Error{kData} where it cannot be written.
  Json finish(const std::string& file);

 private:
  bool gpu_;
  bool running_ = true;
};

}  // namespace muster
