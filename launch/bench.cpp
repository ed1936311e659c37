#include "launch/guard.h"
#include "launch/invocation.h"
#include "trainer/step_benchmark.h"

namespace muster {

void add_bench(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      add_command(app, invocation, "bench", "measure, with the machine's own limit beside it",
                  "mpirun -np 2 --bind-to none muster bench step --hidden 2048,2048 --inputs 784");
  command->require_subcommand(1);
  CLI::App* step =
      command->add_subcommand("step", "time of an optimizer step: data-parallel, and without communication");
  step->fallthrough();  // --json may stand behind either word
  auto options = std::make_shared<StepBenchmarkOptions>();
  step->add_option("--inputs", options->inputs, "features per row")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  step->add_option("--hidden", options->hidden, "widths of the hidden layers")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  step->add_option("--outputs", options->outputs, "classes")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 20));
  step->add_option("--rows", options->rows_per_rank, "rows per rank and step")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  step->add_option("--steps", options->steps, "steps measured")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  step->add_option("--threads", options->threads, "compute threads per rank")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  step->callback([&invocation, options] {
    invocation.collective = true;
    invocation.action = [&invocation, options] {
      return with_ranks({}, [&](Ranks& ranks) {
        Console console(invocation.json, ranks.comm().rank() != 0);
        const Json result = benchmark_step(ranks.comm(), *options);
        console.result(
            result,
            fmt::format("{} ranks, {} parameters: {:.2f} ms a step (median), {:.2f} ms without communication",
                        ranks.comm().size(), result.at("parameters").get<std::uint64_t>(),
                        result.at("step_ms").get<double>(), result.at("alone_ms").get<double>()));
        return 0;
      });
    };
  });
}

}  // namespace muster
