#pragma once
// Where this process's main thread is, asked from another thread: for a rank that hangs.

#include <string>
#include <vector>

namespace muster {

/// Installs the handler by which the calling thread tells. First thing in `main`.
void install_stack_handler();

/// That thread's frames, innermost first, "function + offset" or "library(+offset)"; empty if it does not
/// answer within half a second. One call at a time.
std::vector<std::string> stack_of_main_thread();

}  // namespace muster
