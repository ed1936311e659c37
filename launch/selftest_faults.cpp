// `muster selftest faults`: what can happen to a training, one after the other under the real mpirun, each
// with the line, the exit code and the time that it must have.

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <optional>
#include <regex>

#include "core/child_process.h"
#include "core/random.h"
#include "core/text.h"
#include "launch/drilled_faults.h"
#include "launch/mpirun.h"
#include "launch/process_tree.h"
#include "launch/programs.h"
#include "launch/restarts.h"
#include "launch/selftest.h"
#include "trainer/bench/trial_data.h"

namespace muster {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kRanks = 3;
constexpr double kPatience = 180;  // seconds; a fault that takes longer hangs

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// One fault in a directory of its own.
class Trial {
 public:
  Trial(const DrilledFault& fault, fs::path scratch, std::uint64_t seed) : fault_(fault), random_(seed) {
    victim_.scratch = std::move(scratch);
    victim_.data = victim_.scratch / "data";
    victim_.run = victim_.scratch / "runs" / "run";
    victim_.random = &random_;
    fs::create_directories(victim_.scratch);
  }

  double seconds = 0;  ///< from the fault to the end

  /// What did not hold, or "".
  std::string run(const fs::path& data) {
    fs::copy(data, victim_.data, fs::copy_options::recursive);
    write_config();
    if (fault_.before) {
      if (const int code = ended(start({"--set", "train.steps=60"})); code != 0)
        return wrong(fmt::format("the first half ended with {}", code));
      fault_.before(victim_);
      fs::resize_file(output(), 0);
    }
    std::vector<std::string> second = options();
    if (fault_.before) second.insert(second.end(), {"--allow", "train.steps"});
    auto ranks = fault_.command.empty() ? start(second) : start_command();
    victim_.ranks = ranks.get();
    auto struck = Clock::now();
    if (fault_.during) {
      while (last_step(victim_.run) < 20) {
        if (ranks->wait(std::chrono::milliseconds(20))) return wrong("it ended before it could be hurt");
        if (Clock::now() - struck > std::chrono::seconds(60)) return wrong("it does not begin");
      }
      struck = Clock::now();
      fault_.during(victim_);
    }
    const auto code = ranks->wait(std::chrono::milliseconds(static_cast<int>(1000 * kPatience)));
    seconds = std::chrono::duration<double>(Clock::now() - struck).count();
    if (!code) {
      for (const pid_t process : descendants(ranks->pid())) ::kill(process, SIGKILL);
      return wrong("it hangs");
    }
    const int mapped = exit_code_of_ranks(*code);
    if (std::ranges::find(fault_.codes, mapped) == fault_.codes.end())
      return wrong(
          fmt::format("it ended with {} ({}), not {}", mapped, *code, fmt::join(fault_.codes, " or ")));
    for (const std::string& line : {fault_.line, fault_.and_line}) {
      if (!std::regex_search(text_of(output()), std::regex(line)))
        return wrong(fmt::format("no line like /{}/", line));
    }
    if (mapped != 0 && seconds > fault_.seconds + kStartSeconds)
      return wrong(fmt::format("it took {:.0f} s", seconds));
    return fault_.goes_on && mapped != 0 ? go_on() : "";
  }

 private:
  static constexpr double kStartSeconds = 30;  // where the fault comes with the start

  std::string wrong(const std::string& what) const {
    return fmt::format("{}; see {}", what, output().string());
  }
  fs::path output() const { return victim_.scratch / "output.txt"; }
  fs::path config() const { return victim_.scratch / "config.yaml"; }

  void write_config() const {
    std::ofstream(config()) << fmt::format(
        "run: {{name: run, dir: {}, seed: 7}}\ndata: {{dataset: {}}}\nmodel: {{name: mlp, hidden: [16]}}\n"
        "batch: {{size: 32, lanes: 8, window: 2}}\ntrain: {{threads: 1, steps: 6000}}\nevaluate: {{split: "
        "\"\"}}\n"
        "optimizer: {{name: sgd, learning_rate: 0.001}}\n"
        "checkpoint: {{every_steps: 20, every_seconds: 0, keep: 3}}\nlog: {{tensorboard: false, every_steps: "
        "50}}\n",
        (victim_.scratch / "runs").string(), victim_.data.string());
  }

  std::vector<std::string> options() const {
    std::vector<std::string> all;
    if (!fault_.drill.empty()) all.insert(all.end(), {"--drill", fault_.drill});
    for (const std::string& setting : fault_.settings) all.insert(all.end(), {"--set", setting});
    return all;
  }

  std::unique_ptr<ChildProcess> start(const std::vector<std::string>& more) const {
    std::vector<std::string> command = mpirun_command("mpirun", kRanks, {});
    for (const std::string& word : {own_program().string(), std::string("train"), config().string()})
      command.push_back(word);
    command.insert(command.end(), more.begin(), more.end());
    return std::make_unique<ChildProcess>(command, ChildOptions{mpirun_environment(), output(), false});
  }

  std::unique_ptr<ChildProcess> start_command() const {
    std::vector<std::string> command;
    for (std::string word : fault_.command) {
      for (const auto& [name, value] : {std::pair<std::string, std::string>{"{CONFIG}", config().string()},
                                        {"{MUSTER}", own_program().string()},
                                        {"{SCRATCH}", victim_.scratch.string()}}) {
        if (const std::size_t at = word.find(name); at != std::string::npos)
          word.replace(at, name.size(), value);
      }
      command.push_back(std::move(word));
    }
    return std::make_unique<ChildProcess>(command, ChildOptions{mpirun_environment(), output(), false});
  }

  static int ended(const std::unique_ptr<ChildProcess>& ranks) {
    return ranks->wait(std::chrono::milliseconds(static_cast<int>(1000 * kPatience))).value_or(-1);
  }

  /// Whatever happened, the same run can be continued, here on another number of ranks.
  std::string go_on() const {
    const std::uint64_t before = last_step(victim_.run);
    std::vector<std::string> command = mpirun_command("mpirun", 2, {});
    command.insert(command.end(), {own_program().string(), "train", config().string()});
    for (const std::string& setting : fault_.settings) command.insert(command.end(), {"--set", setting});
    const std::uint64_t steps = std::max<std::uint64_t>(before, 100) + 20;
    command.insert(command.end(), {"--set", fmt::format("train.steps={}", steps), "--allow", "train.steps",
                                   "--set", "train.wall_seconds=0"});
    ChildProcess ranks(command, {mpirun_environment(), output(), false});
    const auto code = ranks.wait(std::chrono::milliseconds(static_cast<int>(1000 * kPatience)));
    return code == 0 ? ""
                     : wrong(fmt::format("it does not go on: {}", code ? std::to_string(*code) : "it hangs"));
  }

  const DrilledFault& fault_;
  RandomStream random_;
  Victim victim_;
};

/// What a trial of files that come and go may throw is its own failure, not the end of all.
template <typename Body>
Result<std::string> attempt_any(Body&& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    return Error(ErrorCode::kBug, error.what());
  }
}

}  // namespace

Json selftest_faults(Console& console, const SelftestOptions& options) {
  const std::vector<DrilledFault> faults = drilled_faults();
  if (options.only && *options.only >= faults.size())
    fail(ErrorCode::kUsage, "--only {}: the faults have the numbers 0 to {}", *options.only,
         faults.size() - 1);
  console.line(fmt::format("seed {}", options.seed));
  const fs::path data = options.scratch / "data";
  make_trial_data(data, {12000, 5, 3});
  Json failures = Json::array();
  Json times = Json::object();
  for (std::uint64_t number = 0; number < faults.size(); ++number) {
    // The small size takes every third, from the seed's on.
    if (options.only ? *options.only != number : !options.full && number % 3 != options.seed % 3) continue;
    const DrilledFault& fault = faults[number];
    console.status(fmt::format("fault {} of {}: {}", number + 1, faults.size(), fault.name));
    const fs::path scratch = options.scratch / fmt::format("fault-{}", number);
    Trial trial(fault, scratch, options.seed);
    const Result<std::string> ran = attempt_any([&] { return trial.run(data); });
    const std::string broken = ran.ok() ? ran.value() : ran.error().what();
    times[fault.name] = trial.seconds;
    console.line(
        fmt::format("  {:>5.1f} s  {}{}", trial.seconds, fault.name, broken.empty() ? "" : ": " + broken));
    if (broken.empty()) {
      fs::remove_all(scratch);
      continue;
    }
    failures.push_back(fmt::format("fault {} ({}): {}; again: muster selftest faults --seed {} --only {}",
                                   number, fault.name, broken, options.seed, number));
    console.warning(failures.back().get<std::string>());
  }
  return {{"seed", options.seed},
          {"faults", faults.size()},
          {"tried", times.size()},
          {"seconds", times},
          {"failures", failures}};
}

}  // namespace muster
