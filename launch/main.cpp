#include "launch/main.h"

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string_view>

#include "core/error.h"
#include "core/host_name.h"
#include "core/text.h"
#include "launch/invocation.h"
#include "launch/ranks.h"
#include "launch/signals.h"
#include "launch/stack.h"
#include "trainer/comm/agreement.h"

namespace muster {

CLI::App* add_command(CLI::App& app, Invocation& invocation, const std::string& name, const std::string& help,
                      const std::string& example) {
  CLI::App* command = app.add_subcommand(name, help);
  command->add_flag("--json", invocation.json, "make the last line of stdout one JSON object");
  command->footer("Example:\n  " + example);
  return command;
}

CLI::Validator not_negative() {
  return {[](const std::string& text) {
            return text.starts_with('-') ? "must not be negative, it is " + text : "";
          },
          ""};
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
  // A failure that is not the user's to mend is one of a machine: say which.
  const bool of_a_machine = error.code() == ErrorCode::kData || error.code() == ErrorCode::kPeer ||
                            error.code() == ErrorCode::kBug || error.code() == ErrorCode::kStorage;
  if (agreed != nullptr && of_a_machine && launched_by_mpi()) {
    std::fprintf(stderr, "muster: rank %d on %s: %s\n", launched_rank(), host_name().c_str(),
                 one_line(error.what()).c_str());
  } else {
    std::fprintf(stderr, "muster: %s\n", one_line(error.what()).c_str());
  }
}

Error unknown_command(const CLI::App& app, const std::string& name) {
  std::vector<std::string> known;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    known.push_back(command->get_name());
  const std::string whole = app.get_name() == "muster" ? name : app.get_name() + " " + name;
  return Error(ErrorCode::kUsage,
               fmt::format("there is no command '{}'{} (muster --help)", whole, did_you_mean(name, known)));
}

int run(int argc, char** argv, Invocation& invocation) {
  CLI::App app("Muster assembles MPI ranks and inspects the data they train on.", "muster");
  app.require_subcommand(1);
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("muster ") + MUSTER_VERSION);
  add_generate(app, invocation);
  add_ingest(app, invocation);
  add_inspect(app, invocation);
  add_contract(app, invocation);
  add_validate(app, invocation);
  add_profile(app, invocation);
  add_train(app, invocation);
  add_launch(app, invocation);
  add_evaluate(app, invocation);
  add_predict(app, invocation);
  add_order(app, invocation);
  add_verify(app, invocation);
  add_explain(app, invocation);
  add_export(app, invocation);
  add_runs(app, invocation);
  add_config(app, invocation);
  add_bench(app, invocation);
  add_selftest(app, invocation);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    if (launched_rank() == 0) return app.exit(help);
    return 0;
  } catch (const CLI::Success& other) {
    return app.exit(other);
  } catch (const CLI::ParseError& error) {
    if (argc > 1 && argv[1][0] != '-' && app.get_subcommands().empty()) throw unknown_command(app, argv[1]);
    for (const CLI::App* command : app.get_subcommands()) {  // one that has commands of its own
      const bool nested = !command->get_subcommands([](const CLI::App*) { return true; }).empty();
      if (nested && argc > 2 && argv[2][0] != '-' && command->get_subcommands().empty())
        throw unknown_command(*command, argv[2]);
    }
    throw Error(ErrorCode::kUsage, std::string(error.what()) + " (muster --help, or muster COMMAND --help)");
  }
  if (!invocation.collective && launched_by_mpi() && launched_rank() != 0) return 0;
  const int code = invocation.action();
  // A training that went well is worth more than its lines; any other command is for what it prints.
  const bool must_be_read = app.got_subcommand("train") ? invocation.json : true;
  if ((std::fflush(stdout) != 0 || std::ferror(stdout) != 0) && must_be_read)
    throw Error(ErrorCode::kStorage, "cannot be written to its end", "standard output");
  return code;
}

/// Where a standard descriptor is closed, the next file that is opened would get its number, and what we
/// print.
void open_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) == -1) (void)::open("/dev/null", O_RDWR);  // gets the lowest number free
  }
}

int run_to_exit_code(int argc, char** argv, Invocation& invocation) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "train") {
    install_signal_handlers();
    install_stack_handler();
  }
  if (command == "launch") install_signal_handlers(SecondInterrupt::kCounts);
  open_standard_descriptors();
  try {
    return run(argc, argv, invocation);
  } catch (const Error& error) {
    report(error);
    return error.exit_code();
  } catch (const std::bad_alloc&) {
    report(Error(ErrorCode::kConfig, "what this asks for does not fit in memory"));
    return static_cast<int>(ErrorCode::kConfig);
  } catch (const std::exception& error) {
    report(Error(ErrorCode::kBug, error.what()));
    return static_cast<int>(ErrorCode::kBug);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Invocation invocation;
  const int code = run_to_exit_code(argc, argv, invocation);
  if (invocation.still_reading == nullptr) return code;
  std::fflush(nullptr);
  std::_Exit(code);
}

}  // namespace muster
