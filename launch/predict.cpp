#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/text.h"
#include "data_loader/ingest/csv_reader.h"
#include "data_loader/ingest/line_reader.h"
#include "launch/device_option.h"
#include "launch/guard.h"
#include "launch/invocation.h"
#include "trainer/checkpoint/checkpoint_path.h"
#include "trainer/comm/agreement.h"
#include "trainer/scoring/line_scorer.h"
#include "trainer/scoring/prediction.h"

namespace muster {
namespace {

struct Flags {
  std::string path;
  bool from_stdin = false;
  std::string spec;
  PredictOptions options;
};

/// Standard input and output of a filter: what was answered goes out before it waits for more.
class Pipe {
 public:
  std::size_t read(std::span<std::byte> out) {
    flush();
    while (true) {
      const ssize_t got = ::read(STDIN_FILENO, out.data(), out.size());
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR) throw Error(ErrorCode::kStorage, std::strerror(errno), "stdin");
    }
  }
  void line(std::string_view text) {
    pending_ += text;
    pending_ += '\n';
    if (pending_.size() > kMost) flush();
  }
  void flush() {
    std::string_view left = pending_;
    while (!left.empty()) {
      const ssize_t put = ::write(STDOUT_FILENO, left.data(), left.size());
      if (put < 0 && errno != EINTR) throw Error(ErrorCode::kStorage, std::strerror(errno), "stdout");
      if (put > 0) left.remove_prefix(static_cast<std::size_t>(put));
    }
    pending_.clear();
  }

 private:
  static constexpr std::size_t kMost = std::size_t{1} << 16;
  std::string pending_;
};

void answer_csv(LineScorer& scorer, const CsvSpec& csv, Pipe& pipe, const CsvReader::Read& read,
                Console& console) {
  CsvReader reader(read, csv.dialect);
  bool header = csv.header;
  if (!header) pipe.line(scorer.begin_csv({}));
  while (reader.next()) {
    if (header && !reader.fault().empty()) throw Error(ErrorCode::kData, reader.fault(), "stdin:1");
    const std::uint64_t before = scorer.refused();
    std::string answer =
        header ? scorer.begin_csv(reader.fields()) : scorer.answer_csv(reader.fields(), reader.fault());
    header = false;
    if (scorer.refused() > before && scorer.refused() <= 10)
      console.warning(fmt::format("stdin:{}: refused, see its answer", reader.line()));
    pipe.line(answer);
  }
  if (header) throw Error(ErrorCode::kData, "is empty: CSV starts with a header, JSON lines with {", "stdin");
}

void answer_json(LineScorer& scorer, Pipe& pipe, const LineReader::Read& read, Console& console) {
  LineReader reader(read);
  while (const auto line = reader.next()) {
    if (trim(*line).empty()) continue;
    const std::uint64_t before = scorer.refused();
    pipe.line(scorer.answer_json(*line));
    if (scorer.refused() > before && scorer.refused() <= 10)
      console.warning(fmt::format("stdin:{}: refused, see its answer", reader.line()));
  }
}

/// Without a spec, which speaks of CSV, the first byte that is no blank tells: '{' starts JSON lines.
int answer_lines(LineScorer& scorer, const CsvSpec& csv, bool with_spec, Console& console) {
  Pipe pipe;
  std::string start;
  while (trim(start).empty()) {
    std::string more(4096, '\0');
    more.resize(pipe.read(std::as_writable_bytes(std::span(more))));
    if (more.empty()) break;
    start += more;
  }
  const auto read = [&pipe, &start](std::span<std::byte> out) {
    if (start.empty()) return pipe.read(out);
    const std::size_t some = std::min(start.size(), out.size());
    std::memcpy(out.data(), start.data(), some);
    start.erase(0, some);
    return some;
  };
  if (!with_spec && trim(start).starts_with('{')) {
    answer_json(scorer, pipe, read, console);
  } else {
    answer_csv(scorer, csv, pipe, read, console);
  }
  pipe.flush();
  const std::string counts = fmt::format("{} lines scored, {} left out for missing values, {} refused",
                                         scorer.scored(), scorer.dropped(), scorer.refused());
  if (scorer.refused() > 0) throw Error(ErrorCode::kData, counts, "stdin");
  console.line(counts);
  return 0;
}

int predict_stdin(Ranks& ranks, FileSystem& files, const Flags& flags) {
  if (ranks.comm().size() > 1) throw Error(ErrorCode::kUsage, "--stdin is for one process: no mpirun");
  Console console(true, false);  // stdout is for answers
  const TrainedModel trained = load_trained_model(ranks.comm(), files, flags.options.checkpoint);
  if (const std::string stale = stale_warning(trained.decision, trained.step); !stale.empty())
    console.warning(stale);
  const auto warn = [&](const std::string& text) { console.warning(text); };
  const ComputeDevice device = choose_scoring_device(ranks.comm(), flags.options.device, "cpu", warn);
  Scorer scorer(ranks.comm(), trained, trained.contract, device);
  CsvSpec csv;
  csv.file = "stdin";
  if (!flags.spec.empty()) csv = CsvSpec::of_ingest_spec(flags.spec, trained.contract);
  LineScorer lines(scorer, trained.contract, csv);
  return answer_lines(lines, csv, !flags.spec.empty(), console);
}

std::string describe(const Json& result) {
  const auto rows = result.at("rows").get<std::uint64_t>();
  const double seconds = result.at("seconds").get<double>();
  std::string text = fmt::format(
      "{} rows scored into {} in {} ({} rows/s)", human_count(rows), result.at("out").get<std::string>(),
      human_seconds(seconds),
      human_count(static_cast<std::uint64_t>(static_cast<double>(rows) / std::max(seconds, 1e-9))));
  const Decision decision = Decision::from_json(result.at("decision"), "decision");
  if (!decision.split.empty()) text += "\n  " + describe(decision);
  if (const auto left_out = result.at("rows_left_out").get<std::uint64_t>(); left_out > 0)
    text += fmt::format("\n  {} rows left out: a value is missing that the contract drops rows for",
                        human_count(left_out));
  return text;
}

int predict_data(Ranks& ranks, FileSystem& files, Flags& flags, Console& console) {
  flags.options.log = console.sink();
  const auto begin = std::chrono::steady_clock::now();
  flags.options.progress = [&console, begin](std::uint64_t done, std::uint64_t total) {
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    const double left = took.count() * static_cast<double>(total - done) / static_cast<double>(done);
    console.status(
        fmt::format("{} of {} rows  ETA {}", human_count(done), human_count(total), human_seconds(left)));
  };
  const Json result = predict(ranks.comm(), files, flags.options);
  console.result(result, describe(result));
  return 0;
}

void check_usage(const Flags& flags) {
  const PredictOptions& options = flags.options;
  const bool with_data = !options.dataset.empty() || !options.out.empty() || !options.split.empty() ||
                         !options.root.empty() || options.overwrite;
  if (flags.from_stdin && with_data)
    throw Error(ErrorCode::kUsage,
                "--stdin reads rows and writes answers: no --data, --split, --root or --out");
  if (!flags.from_stdin && !flags.spec.empty())
    throw Error(
        ErrorCode::kUsage,
        "--spec says how --stdin reads CSV; files become a dataset by `muster ingest SPEC --unlabelled`");
  if (!flags.from_stdin && (options.dataset.empty() || options.out.empty()))
    throw Error(ErrorCode::kUsage, "predict needs --data DIR and --out FILE, or --stdin");
}

}  // namespace

void add_predict(CLI::App& app, Invocation& invocation) {
  CLI::App* command = add_command(app, invocation, "predict",
                                  "scores of a checkpoint for a dataset, or line by line; also under mpirun",
                                  "muster predict runs/card-fraud --data data/new --out scores.csv\n"
                                  "  muster predict runs/card-fraud --stdin < new.csv > scores.csv");
  auto flags = std::make_shared<Flags>();
  command->add_option("CKPT", flags->path, "a checkpoint, or a run directory: its best checkpoint")
      ->required();
  command->add_option("--data", flags->options.dataset,
                      "a validated dataset that has the model's inputs; a label is not needed");
  command->add_option("--split", flags->options.split, "one split of it; all rows without it");
  command->add_option("--root", flags->options.root, "where its partitions lie, if not in DIR");
  command->add_option("--out", flags->options.out,
                      "FILE.csv or FILE.h5: keys and scores, in the data's order");
  command->add_flag("--overwrite", flags->options.overwrite, "replace FILE if it is there");
  command->add_flag("--stdin", flags->from_stdin,
                    "read CSV with a header, or JSON lines, from stdin and answer each line on stdout");
  command->add_option("--spec", flags->spec,
                      "an ingest spec: stdin is CSV as its source says (delimiter, columns, values, …)");
  add_device_option(*command, flags->options.device.wanted, "; default: the run's own, for --stdin cpu");
  command->callback([&invocation, flags] {
    invocation.collective = true;
    invocation.action = [&invocation, flags] {
      check_usage(*flags);
      std::string& device = flags->options.device.wanted;
      if (device.empty() && flags->from_stdin) device = "cpu";  // a row at a time is no work for a GPU
      const GpuModule gpus = gpus_for(device);
      flags->options.device.gpus = &gpus;
      return with_ranks({}, [&](Ranks& ranks) {
        const bool silent = ranks.comm().rank() != 0;
        Console console(invocation.json || flags->from_stdin, silent);
        const auto files = make_posix_file_system();
        flags->options.checkpoint = on_rank_zero(ranks.comm(), "find checkpoint", [&] {
          return resolve_checkpoint(*files, flags->path, console.sink()).string();
        });
        return flags->from_stdin ? predict_stdin(ranks, *files, *flags)
                                 : predict_data(ranks, *files, *flags, console);
      });
    };
  });
}

}  // namespace muster
