#pragma once
// Another program as a child: started in a process group of its own, waited for, never left behind.

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"

namespace muster {

struct ChildOptions {
  std::vector<std::string> environment;  ///< "NAME=value", beside and over this process's own
  /// Where its output and errors go, appended; empty: where this process's go.
  std::filesystem::path output;
  bool piped = false;  ///< its standard output can be read with read_line()
  /// A descriptor that becomes its input and output, instead of the above; its errors then go nowhere. Stays
  /// the caller's.
  int dialogue = -1;
};

/// Used by one thread, but for signal(). The child inherits no blocked or ignored signal and no descriptor
/// but the standard ones. Killed, if it still runs, and reaped when destroyed; when it ends its group dies
/// with it.
class ChildProcess {
 public:
  /// `command` is a program, looked up in PATH, and its arguments. Error{kConfig} if it cannot be started.
  ChildProcess(const std::vector<std::string>& command, const ChildOptions& options = {});
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  /// To the child alone, or to its whole group; nothing once it is reaped. Async-signal-safe.
  void signal(int number) const;
  void signal_group(int number) const;
  /// Its exit code after at most this long, as shells give it: 128 + the signal that ended it. Nothing: it
  /// still runs.
  std::optional<int> wait(std::chrono::milliseconds patience);
  int wait();
  /// The next line of its standard output without its end; nothing at the end of all. Another thread may call
  /// it beside the others.
  std::optional<std::string> read_line();

 private:
  std::optional<int> reap(bool block);
  pid_t pid_ = -1;
  int pipe_ = -1;
  std::string unread_;
  std::optional<int> code_;
};

}  // namespace muster
