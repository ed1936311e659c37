#include "launch/programs.h"

#include <cstdlib>

#include "core/error.h"

namespace muster {

std::filesystem::path own_program() {
  std::error_code error;
  std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "muster" : self;
}

std::filesystem::path probe_program() {
  if (const char* given = std::getenv("MUSTER_PROBE"); given != nullptr) return given;
  std::error_code error;
  const std::filesystem::path beside = own_program().parent_path() / "muster-probe";
  if (std::filesystem::exists(beside, error)) return beside;
  const std::filesystem::path installed = std::filesystem::path(MUSTER_BINDIR) / "muster-probe";
  if (std::filesystem::exists(installed, error)) return installed;
  fail(ErrorCode::kConfig, "muster-probe is neither at {} nor at {}: set MUSTER_PROBE to its path",
       beside.string(), installed.string());
}

}  // namespace muster
