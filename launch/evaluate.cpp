#include "core/text.h"
#include "launch/checkpoint_path.h"
#include "launch/guard.h"
#include "launch/invocation.h"
#include "trainer/agreement.h"
#include "trainer/checkpoint_evaluation.h"
#include "trainer/metrics.h"

namespace muster {
namespace {

std::string confusion_table(const Json& confusion) {
  std::string text = "\n  confusion (row: label, column: predicted)";
  for (const Json& row : confusion) {
    text += "\n   ";
    for (const Json& count : row) text += fmt::format(" {:>8}", count.get<std::uint64_t>());
  }
  return text;
}

std::string describe(const Json& result) {
  Json metrics = result.at("metrics");
  const Json targets = metrics.value("targets", Json::object());
  metrics.erase("targets");
  std::string text = fmt::format("{} on '{}': {}", result.at("checkpoint").get<std::string>(),
                                 result.at("split").get<std::string>(), metrics_line(metrics));
  if (!result.at("same_data").get<bool>()) {
    text += fmt::format("\n  on other data than the run's: fingerprint {}",
                        result.at("fingerprint").get<std::string>().substr(0, 16));
  }
  for (const auto& [name, values] : targets.items())
    text += fmt::format("\n  {}: {}", name, metrics_line(values));
  if (metrics.contains("confusion")) text += confusion_table(metrics.at("confusion"));
  return text;
}

}  // namespace

void add_evaluate(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      add_command(app, invocation, "evaluate", "exact metrics of a checkpoint on a split; also under mpirun",
                  "muster evaluate runs/card-fraud --split test");
  struct Flags {
    std::string path;
    CheckpointEvaluation options;
  };
  auto flags = std::make_shared<Flags>();
  flags->options.split = "test";
  command->add_option("CKPT", flags->path, "a checkpoint, or a run directory: its best checkpoint")
      ->required();
  command->add_option("--split", flags->options.split, "the split")->capture_default_str();
  command->add_option("--data", flags->options.dataset, "another validated dataset of the same contract");
  command->add_option("--root", flags->options.root, "where its partitions lie");
  command->callback([&invocation, flags] {
    invocation.collective = true;
    invocation.action = [&invocation, flags] {
      return with_ranks({}, [&](Ranks& ranks) {
        Console console(invocation.json, ranks.comm().rank() != 0);
        const auto files = make_posix_file_system();
        flags->options.checkpoint = on_rank_zero(ranks.comm(), "find checkpoint", [&] {
          return resolve_checkpoint(*files, flags->path, console.sink()).string();
        });
        flags->options.log = console.sink();
        const Json result = evaluate_checkpoint(ranks.comm(), *files, flags->options);
        console.result(result, describe(result));
        return 0;
      });
    };
  });
}

}  // namespace muster
