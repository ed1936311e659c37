#include "data_loader/ingest/ingest.h"

#include "core/cores.h"
#include "core/text.h"
#include "launch/guard.h"
#include "launch/invocation.h"
#include "launch/programs.h"
#include "trainer/comm/agreement.h"

namespace muster {

namespace {

/// A rank may wait for another one's files for hours.
constexpr double kDeadlineSeconds = 7 * 86400.0;

std::vector<std::byte> to_bytes(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  return {bytes.begin(), bytes.end()};
}

std::string to_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// What each rank says, in rank order.
std::vector<std::string> gather(Communicator& comm, std::string_view name, const std::string& mine) {
  std::vector<std::string> all;
  for (const auto& bytes : comm.all_gather(name, to_bytes(mine))) all.push_back(to_text(bytes));
  return all;
}

/// All ranks' share of an ingest, step by step.
IngestReport ingest_together(Communicator& comm, const IngestOptions& options) {
  const auto rank = static_cast<std::size_t>(comm.rank());
  const auto world = static_cast<std::size_t>(comm.size());
  const auto work =
      together(comm, "ingest spec", [&] { return std::make_unique<Ingest>(options, rank, world); });
  std::vector<std::vector<std::uint64_t>> counted;
  for (const std::string& text : gather(comm, "ingest rows", Json(work->counted()).dump()))
    counted.push_back(Json::parse(text).get<std::vector<std::uint64_t>>());
  together(comm, "ingest plan", [&] {
    work->plan(counted);
    return 0;
  });
  together(comm, "ingest", [&] {
    work->write();
    return 0;
  });
  const std::string mine = together(comm, "ingest sources", [&] { return work->sources(); });
  const std::vector<std::string> sources = gather(comm, "ingest sources", mine);
  together(comm, "ingest publish", [&] {
    if (rank == 0) work->publish(sources);
    return 0;
  });
  return work->published();
}

int run(Communicator& comm, IngestOptions options, bool json) {
  Console console(json, comm.rank() != 0);
  Console any_rank(json, false);  // what is wrong with a source is said by the rank that read it
  options.log = [&](LogLevel level, std::string_view line) {
    if (level == LogLevel::kInfo) console.sink()(level, line);
    if (level != LogLevel::kInfo) any_rank.sink()(level, line);
  };
  const IngestReport report = ingest_together(comm, options);
  const std::string out = options.out.string();
  console.result(
      {{"rows_before", report.rows_before},
       {"rows", report.rows},
       {"partitions", report.partitions},
       {"bytes", report.bytes},
       {"out", out}},
      fmt::format("{}: {} {}{} in {} partitions, {}. Next: muster validate {}", out, human_count(report.rows),
                  report.rows_before > 0 ? "more " : "", report.tokens ? "tokens" : "rows", report.partitions,
                  human_bytes(report.bytes), out));
  return 0;
}

}  // namespace

void add_ingest(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      add_command(app, invocation, "ingest",
                  "turn foreign data into HDF5 partitions, as a spec says; several files also under mpirun",
                  "muster ingest examples/fashion-mnist/ingest.yaml --out data/fashion-mnist");
  struct Flags {
    IngestOptions options;
    std::string codec = "none";
    std::uint64_t shuffle_seed = 0;
  };
  auto flags = std::make_shared<Flags>();
  command->add_option("SPEC", flags->options.spec, "the spec (YAML, see docs/ingest.md)")->required();
  command->add_option("--out", flags->options.out, "directory to make")->required();
  command->add_option("--files", flags->options.files,
                      "files to read instead of those of the spec's one source");
  command->add_flag("--unlabelled", flags->options.unlabelled,
                    "rows to be scored: the files have no labels and weights, nor has the contract of --out");
  command->add_option("--without", flags->options.without,
                      "fields that the files do not have, nor the contract of --out");
  command->add_option("--codec", flags->codec, "none or gzip")->capture_default_str();
  command->add_flag("--append", flags->options.append,
                    "add partitions to the dataset in --out, whose contract must be the same");
  command->add_flag("--again", flags->options.again, "add also files that the dataset was made of already");
  CLI::Option* shuffle =
      command->add_option("--shuffle", flags->shuffle_seed, "write the rows in the random order of this seed")
          ->check(not_negative());
  flags->options.threads = usable_cores();
  CLI::Option* threads = command->add_option("--threads", flags->options.threads, "threads that parse CSV")
                             ->capture_default_str()
                             ->check(CLI::Range(1, 1024));
  command->callback([&invocation, flags, shuffle, threads] {
    invocation.collective = true;
    invocation.action = [&invocation, flags, shuffle, threads] {
      flags->options.codec = parse_codec(flags->codec);
      if (shuffle->count() > 0) flags->options.shuffle_seed = flags->shuffle_seed;
      flags->options.probe = probe_program();
      return with_ranks({kDeadlineSeconds, "", nullptr, {}}, [&](Ranks& ranks) {
        if (const int here = ranks.on_this_host(); threads->count() == 0 && here > 1)
          flags->options.threads = std::max(1U, flags->options.threads / static_cast<unsigned>(here));
        return run(ranks.comm(), flags->options, invocation.json);
      });
    };
  });
}

}  // namespace muster
