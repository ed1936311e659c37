#include "core/text.h"
#include "launch/device_option.h"
#include "launch/guard.h"
#include "launch/invocation.h"
#include "trainer/checkpoint/checkpoint_path.h"
#include "trainer/comm/agreement.h"
#include "trainer/evaluation/decision.h"
#include "trainer/evaluation/metrics.h"
#include "trainer/scoring/checkpoint_evaluation.h"

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

/// "auc 0.951 to 0.963", for each metric that has an interval; taken out of `metrics`.
std::vector<std::string> take_intervals(Json& metrics) {
  std::vector<std::string> texts;
  for (const char* name : {"auc", "average_precision"}) {
    const std::string low = std::string(name) + "_low";
    const std::string high = std::string(name) + "_high";
    if (!metrics.contains(low)) continue;
    if (metrics.at(low).is_number()) {
      texts.push_back(fmt::format("{} {:.5g} to {:.5g}", name, metrics.at(low).get<double>(),
                                  metrics.at(high).get<double>()));
    }
    metrics.erase(low);
    metrics.erase(high);
  }
  return texts;
}

std::string describe(const Json& result) {
  Json metrics = result.at("metrics");
  const Json targets = metrics.value("targets", Json::object());
  metrics.erase("targets");
  const Json resamples = metrics.value("bootstrap", Json());
  metrics.erase("bootstrap");
  const std::vector<std::string> intervals = take_intervals(metrics);
  std::string text = fmt::format("{} on '{}': {}", result.at("checkpoint").get<std::string>(),
                                 result.at("split").get<std::string>(), metrics_line(metrics));
  if (!intervals.empty()) {
    text += fmt::format("\n  95 % intervals over {} bootstrap resamples: {}",
                        human_count(resamples.get<std::uint64_t>()), join(intervals, ", "));
  }
  const Decision decision = Decision::from_json(result.at("decision"), "decision");
  if (!decision.split.empty()) text += "\n  " + describe(decision);
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
  add_device_option(*command, flags->options.device.wanted, "; default: the run's own");
  command
      ->add_option("--bootstrap", flags->options.bootstrap,
                   "resamples for the 95 % intervals of AUC and average precision (binary); 0: none. "
                   "Default: 1000, fewer for more than 4 million rows")
      ->check(CLI::Range(0, 1'000'000));
  command->callback([&invocation, flags] {
    invocation.collective = true;
    invocation.action = [&invocation, flags] {
      const GpuModule gpus = gpus_for(flags->options.device.wanted);
      flags->options.device.gpus = &gpus;
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
