#include "launch/mpirun.h"

#include <fmt/format.h>
#include <unistd.h>

#include "core/cores.h"

namespace muster {

std::vector<std::string> mpirun_command(const std::string& mpirun, std::uint64_t ranks,
                                        const std::vector<std::string>& options) {
  std::vector<std::string> words = {mpirun, "-np", std::to_string(ranks), "--bind-to", "none"};
  if (ranks > usable_cores()) words.emplace_back("--oversubscribe");
  words.insert(words.end(), options.begin(), options.end());
  return words;
}

std::vector<std::string> mpirun_environment() {
  std::vector<std::string> environment;
  if (::geteuid() != 0) return environment;
  // mpirun asks for this where it is started by root, as in containers.
  for (const char* prefix : {"OMPI", "PRTE"}) {
    environment.push_back(fmt::format("{}_ALLOW_RUN_AS_ROOT=1", prefix));
    environment.push_back(fmt::format("{}_ALLOW_RUN_AS_ROOT_CONFIRM=1", prefix));
  }
  return environment;
}

}  // namespace muster
