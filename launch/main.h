#pragma once
// The whole command, for programs that add models of their own: `int main(int c, char** v) { return
// muster::main(c, v); }`.

namespace muster {

/// Runs the `muster` command. Installs signal handlers (train), calls MPI_Init where a launcher started it,
/// prints, and turns every failure into one line and an exit code (docs/exit-codes.md). Never throws.
int main(int argc, char** argv);

}  // namespace muster
