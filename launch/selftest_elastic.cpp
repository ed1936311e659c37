// `muster selftest elastic`: schedules of kills, stops and starts on other numbers of ranks; ranks as
// threads, then real ones under mpirun.

#include <signal.h>

#include <chrono>
#include <fstream>
#include <map>
#include <optional>

#include "core/child_process.h"
#include "core/random.h"
#include "core/text.h"
#include "launch/mpirun.h"
#include "launch/process_tree.h"
#include "launch/programs.h"
#include "launch/selftest.h"
#include "trainer/bench/elastic_trial.h"
#include "trainer/bench/trial_data.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;
using Edges = std::map<std::string, std::uint64_t>;

constexpr int kMostRanks = 8;
constexpr OrderSettings kOrder{.seed = 7, .batch_size = 64, .lanes = 16, .window = 3};
constexpr std::uint64_t kEpochs = 3;

/// Runs of this very program under mpirun, killed and resumed.
class RealRuns {
 public:
  explicit RealRuns(std::filesystem::path scratch) : scratch_(std::move(scratch)) {
    make_trial_data(data(), {9000, 3, 5});
    expected_ = expected_order(Dataset::open(data()), kOrder, kEpochs);
  }

  /// Schedule number `number`; what did not hold.
  std::vector<std::string> run(std::uint64_t seed, std::uint64_t number, Edges& edges) {
    RandomStream random(mix(mix(seed) + 1'000'003 + number));
    const std::string name = fmt::format("run-{}", number);
    const std::filesystem::path config = write_config(name);
    int before = 0;
    for (std::uint64_t left = 1 + random.below(3);; --left) {
      const int ranks = static_cast<int>(1 + random.below(kMostRanks));
      edges["real: more ranks"] += before > 0 && ranks > before ? 1 : 0;
      edges["real: fewer ranks"] += before > 0 && ranks < before ? 1 : 0;
      before = ranks;
      const bool last = left == 0;
      const auto [code, killed] = start(name, config, ranks, last, random, edges);
      if (!code) return {fmt::format("{} ranks: it hangs; see {}", ranks, output(name).string())};
      if (!killed && *code != 0 && *code != static_cast<int>(ErrorCode::kNothingToDo))
        return {fmt::format("{} ranks: ended with {}, see {}", ranks, *code, output(name).string())};
      if (last) break;
    }
    const auto files = make_posix_file_system();
    return check_order(*files, scratch_ / "runs" / name, expected_);
  }

 private:
  std::filesystem::path data() const { return scratch_ / "real-data"; }
  std::filesystem::path output(const std::string& name) const { return scratch_ / (name + ".txt"); }

  std::filesystem::path write_config(const std::string& name) const {
    const std::filesystem::path file = scratch_ / (name + ".yaml");
    std::ofstream out(file);
    out << fmt::format(
        "run: {{name: {}, dir: {}, seed: {}}}\ndata: {{dataset: {}}}\nmodel: {{name: mlp, hidden: [96, "
        "96]}}\n"
        "batch: {{size: {}, lanes: {}, window: {}}}\ntrain: {{threads: 1, epochs: {}}}\n"
        "evaluate: {{every_steps: 60}}\ncheckpoint: {{every_steps: 15, every_seconds: 0, keep: 3}}\n"
        "log: {{tensorboard: false}}\n",
        name, (scratch_ / "runs").string(), kOrder.seed, data().string(), kOrder.batch_size, kOrder.lanes,
        kOrder.window, kEpochs);
    return file;
  }

  struct Ended {
    std::optional<int> code;  ///< nothing: it hangs
    bool killed = false;
  };

  /// A random rank of it, or all of mpirun, is killed at a random moment, unless it is the last start.
  Ended start(const std::string& name, const std::filesystem::path& config, int ranks, bool last,
              RandomStream& random, Edges& edges) const {
    std::vector<std::string> command = mpirun_command("mpirun", static_cast<std::uint64_t>(ranks), {});
    for (const std::string& word : {own_program().string(), std::string("train"), config.string()})
      command.push_back(word);
    ChildProcess child(command, {mpirun_environment(), output(name), false});
    const auto patience = std::chrono::minutes(2);
    if (last) return ended(child, false);
    const std::uint64_t logged_before = logged(name);
    // Half of the kills wait for a step, so that not all of them strike while ranks start.
    const bool after_a_step = random.below(2) == 0;
    const auto began = Clock::now();
    while (after_a_step && logged(name) == logged_before && Clock::now() - began < patience) {
      if (child.wait(std::chrono::milliseconds(20))) break;
    }
    if (Clock::now() - began >= patience) return ended(child, false);
    if (child.wait(std::chrono::milliseconds(random.below(after_a_step ? 600 : 2500)))) {
      ++edges["real: ended before its kill"];
      return ended(child, false);
    }
    std::vector<pid_t> ours;
    for (const pid_t process : descendants(child.pid())) {
      if (is_this_program(process)) ours.push_back(process);
    }
    const bool one = !ours.empty() && random.below(3) > 0;
    ++edges[one ? "real: a rank killed" : "real: all killed"];
    edges["real: killed before a step"] += logged(name) == logged_before ? 1 : 0;
    if (one) {
      ::kill(ours[random.below(ours.size())], SIGKILL);
    } else {
      for (const pid_t process : descendants(child.pid())) ::kill(process, SIGKILL);
      child.signal_group(SIGKILL);
    }
    return ended(child, true);
  }

  static Ended ended(ChildProcess& child, bool killed) {
    const auto code = child.wait(std::chrono::minutes(2));
    if (!code) {
      for (const pid_t process : descendants(child.pid())) ::kill(process, SIGKILL);
    }
    return {code, killed};
  }

  static bool is_this_program(pid_t process) {
    std::error_code gone;
    return std::filesystem::read_symlink(fmt::format("/proc/{}/exe", process), gone) == own_program();
  }

  /// Bytes of events so far: a start writes its first after its first step was done, or a line about itself.
  std::uint64_t logged(const std::string& name) const {
    std::error_code none;
    const auto bytes = std::filesystem::file_size(scratch_ / "runs" / name / "events.jsonl", none);
    return none ? 0 : bytes;
  }

  std::filesystem::path scratch_;
  ExpectedOrder expected_;
};

class ElasticTest {
 public:
  ElasticTest(Console& console, const SelftestOptions& options)
      : console_(console),
        options_(options),
        threads_(options.full ? 1000 : 60),
        real_(options.full ? 50 : 2) {
    if (options.only && *options.only >= threads_ + real_)
      fail(ErrorCode::kUsage, "--only {}: the schedules have the numbers 0 to {}{}", *options.only,
           threads_ + real_ - 1, options.full ? "" : " (more with --full)");
  }

  Json run() {
    console_.line(fmt::format("seed {}", options_.seed));
    for (std::uint64_t number = 0; number < threads_; ++number) {
      if (!wanted(number)) continue;
      const ElasticSchedule schedule = ElasticSchedule::make(options_.seed, number, kMostRanks);
      const ElasticVerdict verdict = run_elastic_trial(schedule, options_.scratch);
      for (const auto& [edge, count] : verdict.edges) edges_[edge] += count;
      report(number, verdict.broken, schedule.describe());
    }
    for (const char* const edge : {"real: a rank killed", "real: all killed", "real: ended before its kill"})
      edges_[edge] += 0;
    std::optional<RealRuns> real;
    for (std::uint64_t number = threads_; number < threads_ + real_; ++number) {
      if (!wanted(number)) continue;
      if (!real) real.emplace(options_.scratch);
      report(number, real->run(options_.seed, number - threads_, edges_), "under mpirun");
    }
    console_.line(
        fmt::format("{} schedules, ranks as threads; {} under mpirun; what they met:", threads_, real_));
    for (const auto& [edge, count] : edges_) console_.line(fmt::format("  {:>6}  {}", count, edge));
    for (const auto& [edge, count] : edges_) {
      if (count == 0 && !options_.only && (options_.full || !edge.starts_with("real")))
        failures_.push_back(fmt::format("never met: {}", edge));
    }
    return {{"seed", options_.seed},
            {"threads", threads_},
            {"mpirun", real_},
            {"edges", edges_},
            {"failures", failures_}};
  }

 private:
  bool wanted(std::uint64_t number) {
    console_.status(fmt::format("schedule {} of {}", number, threads_ + real_));
    return !options_.only || *options_.only == number;
  }
  void report(std::uint64_t number, const std::vector<std::string>& broken, const std::string& schedule) {
    for (const std::string& what : broken) {
      const std::string text =
          fmt::format("schedule {} ({}): {}; again: muster selftest elastic --seed {} --only {}{}", number,
                      schedule, what, options_.seed, number, options_.full ? " --full" : "");
      console_.warning(text);
      failures_.push_back(text);
    }
  }

  Console& console_;
  const SelftestOptions& options_;
  std::uint64_t threads_;
  std::uint64_t real_;
  Edges edges_;
  Json failures_ = Json::array();
};

}  // namespace

Json selftest_elastic(Console& console, const SelftestOptions& options) {
  return ElasticTest(console, options).run();
}

}  // namespace muster
