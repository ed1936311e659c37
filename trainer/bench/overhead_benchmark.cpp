#include "trainer/bench/overhead_benchmark.h"

#include <torch/torch.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "core/temporary_directory.h"
#include "trainer/checkpoint/module_state.h"
#include "trainer/comm/agreement.h"
#include "trainer/comm/benchmark_times.h"
#include "trainer/comm/rank_watch.h"
#include "trainer/runlog/events.h"
#include "trainer/runlog/progress_meter.h"
#include "trainer/runlog/step_report.h"
#include "trainer/runlog/stop_watch.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kBlock = 20;  ///< calls timed together: the clock costs too

/// Microseconds of one call: the median over blocks of calls.
double microseconds_of(std::uint64_t repeats, const std::function<void()>& call) {
  std::vector<double> each;
  for (std::uint64_t block = 0; block < repeats / kBlock + 2; ++block) {
    const auto began = Clock::now();
    for (std::uint64_t i = 0; i < kBlock; ++i) call();
    const std::chrono::duration<double, std::micro> took = Clock::now() - began;
    if (block > 0) each.push_back(took.count() / kBlock);
  }
  return median(std::move(each));
}

double verdict(Communicator& comm, std::uint64_t repeats) {
  comm.barrier("bench");
  StepReport report;
  report.weight = 1;
  return microseconds_of(repeats, [&] { static_cast<void>(exchange_reports(comm, report)); });
}

double watching(std::uint64_t repeats) {
  RankWatchOptions options;
  options.deadline = std::chrono::minutes(15);
  RankWatch watch(std::move(options));
  watch.start(watch.contact());
  std::uint64_t sequence = 0;
  return microseconds_of(repeats, [&] {
    watch.begin(sequence, "gradient bucket 1 of 4");
    watch.end(sequence++);
  });
}

double comparing(std::uint64_t parameters) {
  const NamedTensors weights{{"weights", at::rand({static_cast<std::int64_t>(parameters)})}};
  return microseconds_of(10 * kBlock, [&] { static_cast<void>(hash_of(weights)); });
}

double stopping(FileSystem& files, const std::filesystem::path& directory, std::uint64_t repeats) {
  StopRequests requests;
  StopWatch watch(&requests, Clock::now() + std::chrono::hours(1), directory, files);
  RankStatus status;
  std::uint64_t step = 0;
  return microseconds_of(repeats, [&] {
    static_cast<void>(watch.now(1));
    status.steps_done.store(++step);
    for (const RankPhase phase : {RankPhase::kData, RankPhase::kCompute, RankPhase::kCommunicate,
                                  RankPhase::kUpdate, RankPhase::kBetweenSteps}) {
      status.phase.store(phase);
    }
  });
}

double telling(FileSystem& files, const std::filesystem::path& directory, std::uint64_t repeats) {
  EventLog log(files, directory / "events.jsonl", "0123456789abcdef", 1, 0);
  ProgressMeter meter(1'000'000, 1000, 1000);
  std::uint64_t step = 0;
  return microseconds_of(repeats, [&] {
    meter.begin_step({0.1, 0.2});
    meter.end_step(256, {0.1, 0.2});
    log.write("step", ++step,
              {{"epoch", 3},
               {"epoch_rows", 256 * step},
               {"rows", 256},
               {"passed_over", 0},
               {"loss", 0.123456789},
               {"learning_rate", 1e-3},
               {"gradient_norm", 0.987654321},
               {"digest", "0123456789abcdef0123456789abcdef"},
               {"running_digest", "0123456789abcdef0123456789abcdef"}});
  });
}

}  // namespace

Json benchmark_overhead(Communicator& comm, FileSystem& files, const OverheadBenchmarkOptions& options) {
  const std::filesystem::path directory =
      options.directory / (".muster-bench-overhead-" + std::to_string(comm.rank()));
  const auto scratch =
      together(comm, "bench", [&] { return std::make_unique<TemporaryDirectory>(files, directory); });
  const bool main_rank = comm.rank() == 0;  // it alone writes events
  std::vector<std::pair<std::string, double>> parts;
  parts.emplace_back("verdict_us", slowest(comm, verdict(comm, options.repeats)));
  const auto measure = [&](const char* name, const std::function<double()>& part) {
    parts.emplace_back(name, slowest(comm, together(comm, name, part)));
  };
  measure("watch_us", [&] { return watching(options.repeats) * static_cast<double>(options.collectives); });
  measure("compare_us", [&] {
    return options.compare_every_steps == 0
               ? 0
               : comparing(options.parameters) / static_cast<double>(options.compare_every_steps);
  });
  measure("stop_us", [&] { return stopping(files, directory, options.repeats); });
  measure("events_us", [&] { return main_rank ? telling(files, directory, options.repeats) : 0; });
  Json result = {{"ranks", comm.size()}, {"step_ms", options.step_ms}};
  double total = 0;
  for (const auto& [name, microseconds] : parts) {
    result[name] = microseconds;
    total += microseconds;
  }
  result["total_us"] = total;
  result["share"] = total / (1000 * options.step_ms);
  return result;
}

}  // namespace muster
