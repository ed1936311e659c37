// `muster selftest crash`: every operation of a run's checkpoints with every fault, on a file system in
// memory; then real processes under SIGKILL on the machine's own.

#include <signal.h>

#include <array>
#include <fstream>
#include <map>
#include <random>

#include "core/child_process.h"
#include "core/text.h"
#include "launch/programs.h"
#include "launch/selftest.h"
#include "trainer/bench/crash_trial.h"
#include "trainer/bench/trial_data.h"
#include "trainer/checkpoint/checkpoint_store.h"
#include "trainer/runlog/events.h"

namespace muster {
namespace {

struct NamedFault {
  FileFault fault;
  const char* name;
};

constexpr std::array<NamedFault, 8> kFaults = {{{FileFault::kCrashBefore, "crash before"},
                                                {FileFault::kCrashAfter, "crash after"},
                                                {FileFault::kTornWrite, "torn write"},
                                                {FileFault::kNoSpace, "short write, disk full"},
                                                {FileFault::kIoError, "input/output error"},
                                                {FileFault::kFlippedBit, "flipped bit"},
                                                {FileFault::kLostSync, "a sync that lies"},
                                                {FileFault::kSlow, "slow disk"}}};

/// Trial number n: operation, fault and seed follow from it.
CrashTrial trial_of(std::uint64_t number, std::uint64_t operations, std::uint64_t seed) {
  CrashTrial trial;
  trial.operation = number % operations;
  trial.fault = kFaults[number / operations % kFaults.size()].fault;
  const std::uint64_t round = number / operations / kFaults.size();
  trial.keeps = round == 1 ? CrashKeeps::kSynced : round == 2 ? CrashKeeps::kEverything : CrashKeeps::kSome;
  trial.seed = static_cast<std::uint32_t>(seed * 1'000'003 + number);
  return trial;
}

void report_failure(Console& console, Json& failures, const std::string& what) {
  console.warning(what);
  failures.push_back(what);
}

/// Points through the file system's seam; their number.
std::uint64_t try_points(Console& console, const SelftestOptions& options, Json& failures,
                         std::map<std::string, std::uint64_t>& hits) {
  const std::vector<std::string> sites = crash_sites();
  const std::uint64_t rounds = options.full ? 8 : 1;
  const std::uint64_t points = rounds * sites.size() * kFaults.size();
  if (options.only && *options.only >= points)
    fail(ErrorCode::kUsage, "--only {}: the trials have the numbers 0 to {}{}", *options.only, points - 1,
         options.full ? "" : " (more with --full)");
  std::uint64_t done = 0;
  for (std::uint64_t number = options.only.value_or(0); number < points; ++number, ++done) {
    if (options.only && number != *options.only) break;
    const CrashTrial trial = trial_of(number, sites.size(), options.seed);
    const CrashVerdict verdict = run_crash_trial(trial);
    ++hits[sites[trial.operation]];
    for (const std::string& broken : verdict.broken) {
      report_failure(
          console, failures,
          fmt::format("point {} ({}, {}): {}; again: muster selftest crash --seed {} --only {}{}", number,
                      sites[trial.operation], kFaults[number / sites.size() % kFaults.size()].name, broken,
                      options.seed, number, options.full ? " --full" : ""));
    }
    if (number % 100 == 0)
      console.status(fmt::format("{} of {} points", human_count(number), human_count(points)));
  }
  return done;
}

/// An orphan that stands still before every operation of its commits.
std::uint64_t try_orphans(Console& console, Json& failures) {
  const std::uint64_t operations = orphan_operations();
  for (std::uint64_t operation = 0; operation < operations; ++operation) {
    for (const bool commits : {false, true}) {
      for (const std::string& broken : run_orphan_trial(operation, commits).broken)
        report_failure(console, failures,
                       fmt::format("orphan that stands still before operation {}: {}", operation, broken));
    }
  }
  return 2 * operations;
}

/// A small run of this very program, killed again and again.
class KilledRun {
 public:
  KilledRun(const std::filesystem::path& scratch, std::uint64_t seed) : scratch_(scratch), random_(seed) {
    make_trial_data(scratch_ / "data", {20000, 1, 2});
    std::ofstream config(scratch_ / "config.yaml");
    config
        << "run: {name: killed, dir: " << (scratch_ / "runs").string()
        << "}\ndata: {dataset: " << (scratch_ / "data").string()
        << "}\nmodel: {name: mlp, hidden: [64, 64]}\nbatch: {size: 64, lanes: 4, window: 2}\n"
        << "train: {steps: 1000000, threads: 1}\nevaluate: {split: \"\"}\n"
        << "checkpoint: {every_steps: 3, every_seconds: 0}\nlog: {tensorboard: false, every_steps: 1000}\n";
  }

  /// Starts it, kills it after a random time; what did not hold, or "".
  std::string kill_once() {
    ChildProcess child({own_program().string(), "train", (scratch_ / "config.yaml").string()},
                       {{}, scratch_ / "output.txt", false});
    const auto before = newest();
    const auto lives = std::chrono::milliseconds(std::uniform_int_distribution<int>(100, 1500)(random_));
    if (const auto code = child.wait(lives)) return fmt::format("it ended by itself, with {}", *code);
    child.signal_group(SIGKILL);
    child.wait();
    const auto files = make_posix_file_system();
    const std::uint64_t committed = last_committed(*files);
    const auto choice = CheckpointStore(*files, run() / "checkpoints", "").latest_good();
    if (!choice.checkpoint) return committed > 0 || before > 0 ? "no checkpoint is good" : "";
    const auto content = load_checkpoint(*files, choice.checkpoint->directory);
    if (!content) return fmt::format("it cannot be loaded: {}", content.error().what());
    if (choice.checkpoint->step < std::max(committed, before))
      return fmt::format("step {} is chosen, {} was committed", choice.checkpoint->step,
                         std::max(committed, before));
    if (choice.checkpoint->step > before) ++grown_;
    steps_ = choice.checkpoint->step;
    return "";
  }
  std::uint64_t newest() const { return steps_; }
  std::uint64_t grown() const { return grown_; }

 private:
  std::filesystem::path run() const { return scratch_ / "runs" / "killed"; }
  /// The greatest step that the run says it committed.
  std::uint64_t last_committed(FileSystem& files) const {
    std::uint64_t step = 0;
    if (!files.exists(run() / "events.jsonl")) return 0;
    for (const Json& event : read_events(files, run() / "events.jsonl")) {
      if (event_text(event, "event") == "checkpoint_committed")
        step = std::max(step, event_number(event, "step"));
    }
    return step;
  }

  std::filesystem::path scratch_;
  std::mt19937_64 random_;
  std::uint64_t steps_ = 0;
  std::uint64_t grown_ = 0;
};

}  // namespace

Json selftest_crash(Console& console, const SelftestOptions& options) {
  Json failures = Json::array();
  std::map<std::string, std::uint64_t> hits;
  console.line(fmt::format("seed {}", options.seed));
  const std::uint64_t points = try_points(console, options, failures, hits);
  console.line(fmt::format("{} points at {} sites, each with {} faults:", human_count(points), hits.size(),
                           kFaults.size()));
  for (const auto& [site, count] : hits) console.line(fmt::format("  {:>6}  {}", count, site));
  Json result = {{"seed", options.seed}, {"points", points}, {"sites", hits}};
  if (!options.only) {
    result["orphans"] = try_orphans(console, failures);
    const int kills = options.full ? 100 : 8;
    KilledRun run(options.scratch, options.seed);
    for (int kill = 0; kill < kills; ++kill) {
      if (const std::string broken = run.kill_once(); !broken.empty())
        report_failure(console, failures, fmt::format("SIGKILL number {}: {}", kill + 1, broken));
      console.status(fmt::format("{} of {} kills, at step {}", kill + 1, kills, run.newest()));
    }
    console.line(fmt::format("{} orphans that stand still; {} SIGKILLs of a real run, which got to step {}",
                             result["orphans"].get<std::uint64_t>(), kills, run.newest()));
    result["kills"] = kills;
    result["steps"] = run.newest();
    if (run.grown() == 0) report_failure(console, failures, "the killed run never got on: nothing was tried");
  }
  result["failures"] = failures;
  return result;
}

}  // namespace muster
