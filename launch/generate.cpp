#include "core/text.h"
#include "data_loader/generators/generator.h"
#include "launch/invocation.h"

namespace muster {

void add_generate(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      add_command(app, invocation, "generate", "make built-in data: seeded, any size, constant memory",
                  "muster generate card-fraud --rows 300000 --partitions 8 --seed 1 --out data/card-fraud");
  auto options = std::make_shared<GenerateOptions>();
  auto codec = std::make_shared<std::string>("none");
  std::vector<std::string> kinds;
  for (const std::string& name : generators().names())
    kinds.push_back(name + ": " + generators().get(name).help);
  command->add_option("KIND", options->kind, "what to make. " + join(kinds, "; "))->required();
  command->add_option("--rows", options->rows, "rows in all")->required()->check(not_negative());
  command->add_option("--partitions", options->partitions, "files to spread them over")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--seed", options->seed, "same seed, same data")
      ->capture_default_str()
      ->check(not_negative());
  command->add_option("--shape", options->shape, "fields: the arrays' extents, as 64,64 or 16,32,32")
      ->delimiter(',')
      ->check(not_negative());
  command->add_option("--codec", *codec, "none or gzip")->capture_default_str();
  command->add_option("--out", options->out, "directory to make")->required();
  command->callback([&invocation, options, codec] {
    invocation.action = [&invocation, options, codec] {
      Console console(invocation.json, false);
      options->codec = parse_codec(*codec);
      options->log = console.sink();
      generate(*options);
      const std::string out = options->out.string();
      console.result({{"rows", options->rows}, {"partitions", options->partitions}, {"out", out}},
                     fmt::format("{}: {} rows in {} partitions. Next: muster validate {}", out,
                                 human_count(options->rows), options->partitions, out));
      return 0;
    };
  });
}

}  // namespace muster
