#include "launch/main.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string_view>

#include "core/error.h"
#include "launch/invocation.h"
#include "launch/ranks.h"
#include "launch/signals.h"
#include "trainer/agreement.h"

namespace muster {

CLI::App* add_command(CLI::App& app, Invocation& invocation, const std::string& name, const std::string& help,
                      const std::string& example) {
  CLI::App* command = app.add_subcommand(name, help);
  command->add_flag("--json", invocation.json, "make the last line of stdout one JSON object");
  command->footer("Example:\n  " + example);
  return command;
}

namespace {

constexpr const char* kFooter =
    "First steps:\n"
    "  muster generate card-fraud --rows 300000 --partitions 8 --out data/card-fraud\n"
    "  muster validate data/card-fraud\n"
    "  mpirun -np 2 --bind-to none muster train configs/card-fraud.yaml\n"
    "  muster runs\n\n"
    "Exit codes: 0 done, 64 usage, 65 data, 69 a peer was lost, 70 bug, 74 storage, 75 checkpointed: run me "
    "again,\n"
    "            78 config, 99 nothing to do.";

/// One line on stderr. A usage or config error of a multi-rank start is every rank's: rank 0 alone says it.
void report(const Error& error) {
  const auto* agreed = dynamic_cast<const AgreedError*>(&error);
  const bool everybodys = error.code() == ErrorCode::kUsage;
  if (agreed != nullptr ? !agreed->mine() : (everybodys && launched_rank() != 0)) return;
  std::fprintf(stderr, "muster: %s\n", error.what());
}

int run(int argc, char** argv) {
  CLI::App app("Muster assembles MPI ranks and inspects the data they train on.", "muster");
  app.require_subcommand(1);
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("muster ") + MUSTER_VERSION);
  Invocation invocation;
  add_generate(app, invocation);
  add_ingest(app, invocation);
  add_validate(app, invocation);
  add_train(app, invocation);
  add_evaluate(app, invocation);
  add_order(app, invocation);
  add_verify(app, invocation);
  add_explain(app, invocation);
  add_runs(app, invocation);
  add_config(app, invocation);
  add_bench(app, invocation);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    if (launched_rank() == 0) return app.exit(help);
    return 0;
  } catch (const CLI::Success& other) {
    return app.exit(other);
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorCode::kUsage, std::string(error.what()) + " (muster --help, or muster COMMAND --help)");
  }
  return invocation.action();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "train") install_signal_handlers();
  try {
    return run(argc, argv);
  } catch (const Error& error) {
    report(error);
    return error.exit_code();
  } catch (const std::exception& error) {
    report(Error(ErrorCode::kBug, error.what()));
    return static_cast<int>(ErrorCode::kBug);
  }
}

}  // namespace muster
