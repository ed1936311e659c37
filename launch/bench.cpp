#include <algorithm>

#include "core/keep_memory.h"
#include "core/text.h"
#include "launch/device_option.h"
#include "launch/guard.h"
#include "launch/invocation.h"
#include "trainer/bench/allreduce_benchmark.h"
#include "trainer/bench/checkpoint_benchmark.h"
#include "trainer/bench/overhead_benchmark.h"
#include "trainer/bench/step_benchmark.h"
#include "trainer/comm/agreement.h"

namespace muster {

namespace {

struct Benchmark {
  std::function<Json(Communicator&, FileSystem&)> measure;  ///< on all ranks
  std::string (*describe)(const Json&);
};

int run(const Benchmark& benchmark, bool json) {
  return with_ranks({}, [&](Ranks& ranks) {
    Console console(json, ranks.comm().rank() != 0);
    const auto files = make_posix_file_system();
    const Json result = benchmark.measure(ranks.comm(), *files);
    console.result(result, benchmark.describe(result));
    return 0;
  });
}

void set_action(CLI::App& command, Invocation& invocation, Benchmark chosen) {
  command.fallthrough();  // --json may stand behind either word
  const auto benchmark = std::make_shared<Benchmark>(std::move(chosen));
  command.callback([&invocation, benchmark] {
    invocation.collective = true;
    invocation.action = [&invocation, benchmark] { return run(*benchmark, invocation.json); };
  });
}

std::vector<std::uint64_t> sizes_of(const char* option, const std::vector<std::string>& texts) {
  std::vector<std::uint64_t> sizes;
  for (const std::string& text : texts) {
    const auto bytes = parse_bytes(text);
    if (!bytes || *bytes == 0)
      fail(ErrorCode::kUsage, "{} {}: a size was expected, as 400 MiB", option, text);
    sizes.push_back(*bytes);
  }
  return sizes;
}

std::string describe_step(const Json& result) {
  std::string text = fmt::format(
      "{}, {} ranks, {} parameters: {:.2f} ms a step (median), {:.2f} ms without communication, {:.2f} ms by "
      "a plain LibTorch loop",
      result.at("model").get<std::string>(), result.at("ranks").dump(), result.at("parameters").dump(),
      result.at("step_ms").get<double>(), result.at("alone_ms").get<double>(),
      result.at("bare_ms").get<double>());
  if (const Json& graph = result.at("graph_ms"); graph.is_number())
    text += fmt::format(", {:.2f} ms by that as one CUDA graph", graph.get<double>());
  if (const Json& error = result.at("graph_error"); error.is_string())
    text += fmt::format("; no CUDA graph: {}", error.get<std::string>());
  for (const Json& row : result.at("profile"))
    text += fmt::format("\n  {:8.3f} ms a step in {:5} calls of {}", row.at("ms").get<double>(),
                        row.at("count").dump(), row.at("name").get<std::string>().substr(0, 100));
  return text;
}

void add_sum_precision(CLI::App& command, std::string& precision) {
  command.add_option("--sum-precision", precision, "as train.sum_precision")
      ->capture_default_str()
      ->check(CLI::IsMember({"float32", "bfloat16"}));
}

void add_step(CLI::App& command, Invocation& invocation) {
  CLI::App* step = command.add_subcommand(
      "step", "time of an optimizer step: data-parallel, without communication, by LibTorch alone");
  auto options = std::make_shared<StepBenchmarkOptions>();
  step->add_option("--model", options->model, "the model")->capture_default_str();
  step->add_option("--options", options->options, "of it, as in a config: '{hidden: [2048, 2048]}'");
  step->add_option("--shape", options->shape, "of a row, as 3,32,32")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  step->add_option("--vocabulary", options->vocabulary, "rows are ids below it; 0: numbers")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 24));
  step->add_option("--precision", options->precision, "as train.precision")
      ->capture_default_str()
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}));
  add_device_option(*step, options->device, "; default cpu");
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
  step->add_option("--bucket-bytes", options->bucket_bytes, "gradients that are summed together, at most")
      ->capture_default_str()
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 40));
  add_sum_precision(*step, options->sum_precision);
  step->add_option("--profile", options->profile,
                   "a file: three more steps are profiled, for Perfetto, and the longest kernels (on a CPU: "
                   "operators) are listed");
  set_action(*step, invocation,
             {[options](Communicator& comm, FileSystem&) {
                keep_freed_memory();  // as train does
                return benchmark_step(comm, *options, gpus_for(options->device));
              },
              describe_step});
}

std::string describe_allreduce(const Json& result) {
  const Json& library = result.at("library");
  std::vector<std::string> lines{
      fmt::format("{} ranks ({}), sums {}, by {}; medians of the slowest rank", result.at("ranks").dump(),
                  result.at("device").get<std::string>(), result.at("sums").get<std::string>(),
                  result.at("path").get<std::string>()),
      fmt::format("  {:>10}{:>14}{:>16}{:>12}", "size", "summed",
                  library.is_null() ? "no library" : library.get<std::string>(), "copied")};
  for (const Json& size : result.at("sizes")) {
    const auto time = [&](const char* name) {
      return size.at(name).is_null() ? "-" : fmt::format("{:.0f} us", size.at(name).get<double>());
    };
    lines.push_back(fmt::format("  {:>10}{:>14}{:>16}{:>12}",
                                human_bytes(size.at("bytes").get<std::uint64_t>()), time("sum_us"),
                                time("library_us"), time("copy_us")));
  }
  return join(lines, "\n");
}

void add_allreduce(CLI::App& command, Invocation& invocation) {
  CLI::App* allreduce = command.add_subcommand(
      "allreduce", "time to sum gradients over the ranks, beside the MPI library's own, or NCCL's");
  struct Flags {
    AllreduceBenchmarkOptions options;
    std::vector<std::string> bytes;
  };
  auto flags = std::make_shared<Flags>();
  allreduce->add_option("--bytes", flags->bytes, "sizes, as 64 KiB,25 MiB")->delimiter(',');
  allreduce->add_option("--rounds", flags->options.rounds, "rounds measured of each size")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  add_sum_precision(*allreduce, flags->options.sum_precision);
  add_device_option(*allreduce, flags->options.device, "; default cpu");
  set_action(*allreduce, invocation,
             {[flags](Communicator& comm, FileSystem&) {
                together(comm, "bench", [&] {
                  if (!flags->bytes.empty()) flags->options.bytes = sizes_of("--bytes", flags->bytes);
                  constexpr std::uint64_t kMost = std::uint64_t{4} << 30;  // MPI counts by int
                  if (std::ranges::max(flags->options.bytes) > kMost)
                    fail(ErrorCode::kUsage, "--bytes: sizes up to 4 GiB are summed");
                  return 0;
                });
                return benchmark_allreduce(comm, flags->options, gpus_for(flags->options.device));
              },
              describe_allreduce});
}

std::string describe_checkpoint(const Json& result) {
  const auto seconds = [&](const char* name) { return result.at(name).get<double>(); };
  const auto bytes = result.at("bytes").get<std::uint64_t>();
  const auto line = [&](const char* what, double took) {
    return fmt::format("  {:<44}{:>8.3f} s{:>9.0f} MB/s", what, took,
                       static_cast<double>(bytes) / took / 1e6);
  };
  return join(
      std::vector<std::string>{
          fmt::format("{} of state, {} ranks, medians of the slowest rank", human_bytes(bytes),
                      result.at("ranks").dump()),
          line("copied (training stands still)", seconds("copy_seconds")),
          line("written, hashed, synced", seconds("write_seconds")),
          line("read back from the disk, hashed", seconds("verify_seconds")),
          line("the same bytes written and synced plainly", seconds("plain_seconds")),
          line("SHA-256 alone", seconds("hash_seconds")),
          fmt::format(
              "writing takes {:.2f} times as long as plainly, {:.2f} times as the slower of disk and hash",
              seconds("ratio_to_plain"), seconds("ratio_to_limit"))},
      "\n");
}

void add_checkpoint(CLI::App& command, Invocation& invocation) {
  CLI::App* checkpoint = command.add_subcommand(
      "checkpoint", "time to write a checkpoint, beside plain writes on the same disk");
  struct Flags {
    CheckpointBenchmarkOptions options;
    std::string bytes = "400 MiB";
  };
  auto flags = std::make_shared<Flags>();
  checkpoint->add_option("--bytes", flags->bytes, "of the state, over all ranks")->capture_default_str();
  checkpoint->add_option("--dir", flags->options.directory, "a directory on the disk to measure")
      ->capture_default_str()
      ->check(CLI::ExistingDirectory);
  checkpoint->add_option("--rounds", flags->options.rounds, "rounds measured")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  set_action(*checkpoint, invocation,
             {[flags](Communicator& comm, FileSystem& files) {
                flags->options.bytes =
                    together(comm, "bench", [&] { return sizes_of("--bytes", {flags->bytes}).front(); });
                return benchmark_checkpoint(comm, files, flags->options);
              },
              describe_checkpoint});
}

std::string describe_overhead(const Json& result) {
  const auto line = [&](const char* what, const char* name) {
    return fmt::format("  {:<44}{:>8.2f} us", what, result.at(name).get<double>());
  };
  return join(
      std::vector<std::string>{
          fmt::format("{} ranks, a step; medians of the slowest rank", result.at("ranks").dump()),
          line("verdict: what all ranks act on", "verdict_us"),
          line("telling the watch of collectives", "watch_us"),
          line("comparing the weights, a share of it", "compare_us"),
          line("reasons to stop, signs of life", "stop_us"), line("progress and events.jsonl", "events_us"),
          fmt::format("  {:.0f} us together: {:.2f} % of a step of {} ms",
                      result.at("total_us").get<double>(), 100 * result.at("share").get<double>(),
                      result.at("step_ms").dump())},
      "\n");
}

void add_overhead(CLI::App& command, Invocation& invocation) {
  CLI::App* overhead =
      command.add_subcommand("overhead", "what verdict, watch, comparison and events cost in each step");
  auto options = std::make_shared<OverheadBenchmarkOptions>();
  overhead->add_option("--parameters", options->parameters, "of the model whose weights are compared")
      ->capture_default_str()
      ->check(CLI::Range(1ULL, 1ULL << 32));
  overhead->add_option("--collectives", options->collectives, "watched in a step")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  overhead->add_option("--compare-every", options->compare_every_steps, "as train.compare_every_steps")
      ->capture_default_str();
  overhead->add_option("--repeats", options->repeats, "steps measured")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 30));
  overhead->add_option("--step-ms", options->step_ms, "milliseconds of a step, to compare with")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  overhead->add_option("--dir", options->directory, "a directory on the disk that events would go to")
      ->capture_default_str()
      ->check(CLI::ExistingDirectory);
  set_action(
      *overhead, invocation,
      {[options](Communicator& comm, FileSystem& files) { return benchmark_overhead(comm, files, *options); },
       describe_overhead});
}

}  // namespace

void add_bench(CLI::App& app, Invocation& invocation) {
  CLI::App* command = add_command(
      app, invocation, "bench", "measure, with the machine's own limit beside it",
      "mpirun -np 2 --bind-to none muster bench step --shape 784 --options '{hidden: [2048, 2048]}'");
  command->require_subcommand(1);
  add_step(*command, invocation);
  add_allreduce(*command, invocation);
  add_checkpoint(*command, invocation);
  add_overhead(*command, invocation);
}

}  // namespace muster
