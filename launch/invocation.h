#pragma once
// One call of the command: what all sub-commands share, and how a sub-command is added.

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "launch/console.h"

namespace muster {

/// Filled while the command line is parsed; the chosen sub-command leaves its action.
struct Invocation {
  bool json = false;
  bool collective = false;  ///< every rank takes part; else rank 0 alone does it, also under mpirun
  /// Runs the chosen command and returns the exit code. Throws what ends it.
  std::function<int()> action;
  /// What a read that did not come back still uses: the process then ends without letting go of it.
  std::shared_ptr<void> still_reading;
};

/// Each adds one sub-command; the files are named after them.
void add_bench(CLI::App& app, Invocation& invocation);
void add_config(CLI::App& app, Invocation& invocation);
void add_contract(CLI::App& app, Invocation& invocation);
void add_evaluate(CLI::App& app, Invocation& invocation);
void add_explain(CLI::App& app, Invocation& invocation);
void add_export(CLI::App& app, Invocation& invocation);
void add_generate(CLI::App& app, Invocation& invocation);
void add_ingest(CLI::App& app, Invocation& invocation);
void add_inspect(CLI::App& app, Invocation& invocation);
void add_launch(CLI::App& app, Invocation& invocation);
void add_order(CLI::App& app, Invocation& invocation);
void add_predict(CLI::App& app, Invocation& invocation);
void add_profile(CLI::App& app, Invocation& invocation);
void add_runs(CLI::App& app, Invocation& invocation);
void add_selftest(CLI::App& app, Invocation& invocation);
void add_train(CLI::App& app, Invocation& invocation);
void add_validate(CLI::App& app, Invocation& invocation);
void add_verify(CLI::App& app, Invocation& invocation);

/// For options of unsigned types, which would take -1 for a large number.
CLI::Validator not_negative();

/// A sub-command with its help, an example, and --json.
CLI::App* add_command(CLI::App& app, Invocation& invocation, const std::string& name, const std::string& help,
                      const std::string& example);

}  // namespace muster
