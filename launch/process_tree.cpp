#include "launch/process_tree.h"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <system_error>

namespace muster {
namespace {

/// The parent of a process (field 4 of /proc/PID/stat, proc(5)); 0 if it is gone.
pid_t parent_of(const std::filesystem::path& entry) {
  std::ifstream file(entry / "stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t after_name = text.rfind(')');
  if (after_name == std::string::npos || after_name + 4 > text.size()) return 0;
  pid_t parent = 0;
  std::from_chars(text.data() + after_name + 4, text.data() + text.size(), parent);
  return parent;
}

}  // namespace

std::vector<pid_t> descendants(pid_t process) {
  std::multimap<pid_t, pid_t> children;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
    const std::string name = entry.path().filename().string();
    pid_t pid = 0;
    const auto [end, status] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (status != std::errc{} || end != name.data() + name.size()) continue;
    children.emplace(parent_of(entry.path()), pid);
  }
  std::vector<pid_t> found = {process};
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto [first, last] = children.equal_range(found[i]);
    for (auto child = first; child != last; ++child) found.push_back(child->second);
  }
  found.erase(found.begin());
  return found;
}

}  // namespace muster
