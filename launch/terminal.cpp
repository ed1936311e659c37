#include "launch/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "core/text.h"
#include "launch/ranks.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

/// What a process's descriptor leads to, "" if it cannot be seen (another user's process, no /proc).
std::string target(int process, int descriptor) {
  std::error_code error;
  const fs::path link = fs::read_symlink(fmt::format("/proc/{}/fd/{}", process, descriptor), error);
  return error ? "" : link.string();
}

/// 0 if it cannot be seen.
int parent_of(int process) {
  // proc(5): "pid (comm) state ppid ..."; comm may hold blanks and brackets.
  std::ifstream file(fmt::format("/proc/{}/stat", process));
  std::string text;
  std::getline(file, text);
  const auto end = text.rfind(") ");
  return end == std::string::npos ? 0 : leading_integer(std::string_view(text).substr(end + 4)).value_or(0);
}

}  // namespace

bool is_watched(int descriptor) {
  if (::isatty(descriptor) != 1) return false;
  if (!launched_by_mpi()) return true;
  // The scripts between the launcher and this process share its terminal.
  const std::string mine = target(::getpid(), descriptor);
  int process = ::getpid();
  do {
    process = parent_of(process);
    if (process == 0) return false;
  } while (target(process, descriptor) == mine);
  const std::string theirs = target(process, descriptor);
  return theirs.starts_with("/dev/pts/") || theirs.starts_with("/dev/tty");
}

}  // namespace muster
