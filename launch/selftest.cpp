#include "launch/selftest.h"

#include <unistd.h>

#include "core/text.h"
#include "launch/invocation.h"

namespace muster {
namespace {

using Selftest = Json (*)(Console&, const SelftestOptions&);

int run_selftest(const Invocation& invocation, const std::string& name, Selftest test,
                 SelftestOptions options) {
  Console console(invocation.json, false);
  if (options.scratch.empty()) options.scratch = std::filesystem::temp_directory_path();
  options.scratch /= fmt::format("muster-selftest-{}-{}", name, ::getpid());  // what goes at the end is ours
  std::filesystem::create_directories(options.scratch);
  const Json result = test(console, options);
  const auto failures = result.at("failures").size();
  if (failures == 0) std::filesystem::remove_all(options.scratch);
  console.result(result, failures == 0 ? fmt::format("selftest {}: all of it holds", name)
                                       : fmt::format("selftest {}: {} failed; what they left: {}", name,
                                                     human_count(failures), options.scratch.string()));
  return failures == 0 ? 0 : static_cast<int>(ErrorCode::kBug);
}

void add_test(CLI::App& selftest, Invocation& invocation, const std::string& name, const std::string& help,
              Selftest test) {
  CLI::App* command = add_command(selftest, invocation, name, help, "muster selftest " + name + " --seed 7");
  auto options = std::make_shared<SelftestOptions>();
  command->add_option("--seed", options->seed, "of what is random")->capture_default_str();
  command->add_flag("--full", options->full, "many more trials: minutes to an hour");
  command->add_option("--only", options->only, "only the trial with this number: replays a failure");
  command->add_option("--scratch", options->scratch,
                      "where to make a directory for what it makes (default: the system's)");
  command->callback([&invocation, options, name, test] {
    invocation.action = [&invocation, options, name, test] {
      return run_selftest(invocation, name, test, *options);
    };
  });
}

}  // namespace

void add_selftest(CLI::App& app, Invocation& invocation) {
  CLI::App* selftest =
      add_command(app, invocation, "selftest", "try the promises on this machine: crash, elastic, faults",
                  "muster selftest crash");
  selftest->require_subcommand(1);
  add_test(*selftest, invocation, "crash",
           "kill, tear and fill up while checkpoints are written: what is loaded is never damaged, and never "
           "older than it must be",
           selftest_crash);
  add_test(*selftest, invocation, "elastic",
           "kill, stop and resume on other numbers of ranks: every row is used exactly once, in the same "
           "global batches",
           selftest_elastic);
  add_test(*selftest, invocation, "faults",
           "kill, hang, spoil, fill up and take away: each fault ends with its line and exit code, in time, "
           "and the run goes on "
           "afterwards; every third one, all with --full",
           selftest_faults);
}

}  // namespace muster
