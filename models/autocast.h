#pragma once
// LibTorch's autocast, of this thread.

namespace muster {

/// What autocast does on a thread. Types are numbers of at::ScalarType.
struct AutocastState {
  struct Device {
    bool enabled = false;
    int type = 0;
  };
  Device cpu;
  Device cuda;
  bool keeps_casts = false;  ///< the memory of casts is the process's
};

/// This thread's.
AutocastState autocast_state();

/// Sets this thread's state while it lives, and puts back what was.
class AutocastScope {
 public:
  explicit AutocastScope(const AutocastState& state);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  AutocastState before_;
};

}  // namespace muster
