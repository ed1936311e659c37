#include "data_loader/ingest.h"

#include "core/cores.h"
#include "core/text.h"
#include "launch/invocation.h"
#include "launch/programs.h"

namespace muster {

void add_ingest(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      add_command(app, invocation, "ingest", "turn foreign data into HDF5 partitions, as a spec says",
                  "muster ingest examples/fashion-mnist/ingest.yaml --out data/fashion-mnist");
  struct Flags {
    IngestOptions options;
    std::string codec = "none";
    std::uint64_t shuffle_seed = 0;
  };
  auto flags = std::make_shared<Flags>();
  command->add_option("SPEC", flags->options.spec, "the spec (YAML, see docs/ingest.md)")->required();
  command->add_option("--out", flags->options.out, "directory to make")->required();
  command->add_option("--codec", flags->codec, "none or gzip")->capture_default_str();
  command->add_flag("--append", flags->options.append,
                    "add partitions to the dataset in --out, whose contract must be the same");
  CLI::Option* shuffle =
      command->add_option("--shuffle", flags->shuffle_seed, "write the rows in the random order of this seed")
          ->check(not_negative());
  flags->options.threads = usable_cores();
  command->add_option("--threads", flags->options.threads, "threads that parse CSV")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command->callback([&invocation, flags, shuffle] {
    invocation.action = [&invocation, flags, shuffle] {
      Console console(invocation.json, false);
      flags->options.codec = parse_codec(flags->codec);
      if (shuffle->count() > 0) flags->options.shuffle_seed = flags->shuffle_seed;
      flags->options.log = console.sink();
      flags->options.probe = probe_program();
      const IngestReport report = ingest(flags->options);
      const std::string out = flags->options.out.string();
      console.result(
          {{"rows_before", report.rows_before},
           {"rows", report.rows},
           {"partitions", report.partitions},
           {"bytes", report.bytes},
           {"out", out}},
          fmt::format("{}: {} {}{} in {} partitions, {}. Next: muster validate {}", out,
                      human_count(report.rows), report.rows_before > 0 ? "more " : "",
                      report.tokens ? "tokens" : "rows", report.partitions, human_bytes(report.bytes), out));
      return 0;
    };
  });
}

}  // namespace muster
