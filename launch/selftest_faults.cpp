// `muster selftest faults`: what can happen to a training, one after the other under the real mpirun, each
// with the line, the exit code and the time that it must have.

#include <signal.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <regex>
#include <thread>

#include "core/child_process.h"
#include "core/random.h"
#include "core/text.h"
#include "launch/mpirun.h"
#include "launch/process_tree.h"
#include "launch/programs.h"
#include "launch/restarts.h"
#include "launch/selftest.h"
#include "trainer/events.h"

namespace muster {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kRanks = 3;
constexpr double kPatience = 90;  // seconds; a fault that takes longer hangs

/// A running training that a fault may do something to.
struct Victim {
  fs::path scratch;  ///< of this fault alone
  fs::path data;
  fs::path run;  ///< the run directory
  ChildProcess* ranks = nullptr;
  RandomStream* random = nullptr;
};

/// What happens, and what must follow.
struct Fault {
  std::string name;
  std::string drill;                          ///< of `muster train --drill`; "": none
  std::vector<std::string> settings;          ///< SECTION.KEY=VALUE
  std::function<void(const Victim&)> before;  ///< to the finished first half of a run, before its second
  std::function<void(const Victim&)> during;  ///< after the twentieth step
  std::vector<int> codes;                     ///< any of these, as `muster launch` maps them
  std::string line;                           ///< a regular expression that the output must have
  double seconds = 30;                        ///< from the fault to the end, at most
  std::vector<std::string> command;  ///< instead of the usual one; {CONFIG}, {MUSTER}, {SCRATCH} in it
  bool goes_on = true;               ///< the same command goes on afterwards
};

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

fs::path partition(const Victim& victim, int number) {
  return victim.data / fmt::format("part-{:05}.h5", number);
}

void flip_byte(const fs::path& file, std::uint64_t at) {
  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  stream.seekg(static_cast<std::streamoff>(at));
  const int byte = stream.get();
  stream.seekp(static_cast<std::streamoff>(at));
  stream.put(static_cast<char>(byte ^ 1));
}

/// The checkpoints of a run, oldest first.
std::vector<fs::path> checkpoints(const fs::path& run) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints")) {
    if (entry.path().filename().string().starts_with("g")) found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

void damage(const fs::path& checkpoint) {
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    if (entry.path().extension() == ".safetensors") flip_byte(entry.path(), fs::file_size(entry.path()) / 2);
  }
}

std::uint64_t last_step(const fs::path& run) {
  const auto files = make_posix_file_system();
  std::uint64_t step = 0;
  if (!files->exists(run / "events.jsonl")) return 0;
  for (const Json& event : read_events(*files, run / "events.jsonl")) {
    if (event_text(event, "event") == "step") step = event_number(event, "step");
  }
  return step;
}

std::vector<Fault> all_faults() {
  const std::vector<std::string> watched = {"log.deadline_seconds=4"};
  std::vector<Fault> faults;
  const auto add = [&faults](Fault fault) { faults.push_back(std::move(fault)); };

  add({.name = "a rank is killed", .drill = "kill", .codes = {69}, .line = "rank 1 .*signal 9|rank 1 on"});
  add({.name = "rank 0 is killed",
       .drill = "kill@10:0",
       .codes = {69},
       .line = "rank 0 .*signal 9|rank 0 on"});
  add({.name = "a rank stands still (SIGSTOP)",
       .drill = "suspend",
       .settings = watched,
       .codes = {69},
       .line = "has waited .*rank 1 on"});
  add({.name = "rank 0 stands still",
       .drill = "suspend@10:0",
       .settings = watched,
       .codes = {69},
       .line = "has waited .*rank 0"});
  add({.name = "a rank hangs in a step",
       .drill = "hang",
       .settings = watched,
       .codes = {69},
       .line = "rank 1 on .*in phase 'compute'"});
  add({.name = "a rank crashes (SIGSEGV)", .drill = "segfault", .codes = {70}, .line = "rank 1 .*signal 11"});
  add({.name = "a rank crashes (abort)", .drill = "abort", .codes = {70}, .line = "rank 1 .*signal 6"});
  add({.name = "a model throws", .drill = "exception", .codes = {70}, .line = "rank 1.*a drill's exception"});
  add({.name = "a rank leaves with exit code 0",
       .drill = "exit",
       .settings = watched,
       .codes = {69, 70},
       .line = "rank 1|exit"});
  add({.name = "no memory is left",
       .drill = "memory",
       .codes = {70, 78},
       .line = "rank 1.*(bad_alloc|memory)"});
  add({.name = "a loss that is no number",
       .drill = "nan",
       .codes = {65},
       .line = "the loss is not finite on rank 1 of 3"});
  add({.name = "the same, left out",
       .drill = "nan",
       .settings = {"train.on_bad_step=skip", "train.most_bad_steps=5"},
       .codes = {65, 70},
       .line = "its update is left out"});
  add({.name = "a spike, gone back for",
       .drill = "spike@80:1",
       .settings = {"train.on_bad_step=rollback", "train.spike_factor=50", "train.compare_every_steps=0"},
       .codes = {0},
       .line = "back to the last checkpoint"});
  add({.name = "a spike ends the run",
       .drill = "spike@80:1",
       .settings = {"train.spike_factor=50", "train.compare_every_steps=0"},
       .codes = {65},
       .line = "step 80: .*times"});
  add({.name = "a bit of a weight flips",
       .drill = "flip@20:1",
       .settings = {"train.compare_every_steps=10"},
       .codes = {70},
       .line = "rank 1.*(weights|other)"});
  add({.name = "a slow rank",
       .drill = "slow@20:2",
       .settings = {"train.steps=60"},
       .codes = {0},
       .line = "rank 2 .*slow"});
  add({.name = "a slow disk",
       .drill = "slow-disk@5:0",
       .settings = {"train.steps=60"},
       .codes = {0},
       .line = "finished"});
  add({.name = "the disk of rank 0 is full",
       .drill = "disk-full@20:0",
       .settings = {"checkpoint.give_up_seconds=2"},
       .codes = {74},
       .line = "No space left on device"});
  add({.name = "the disk of another rank is full",
       .drill = "disk-full@20:1",
       .settings = {"checkpoint.give_up_seconds=2"},
       .codes = {74},
       .line = "rank 1.*No space left on device|No space left on device.*rank 1"});
  add({.name = "a disk fails",
       .drill = "disk-error@20:0",
       .settings = {"checkpoint.give_up_seconds=2"},
       .codes = {74},
       .line = "Input/output error"});
  add({.name = "the run directory becomes read-only",
       .drill = "read-only@20:0",
       .settings = {"checkpoint.give_up_seconds=2"},
       .codes = {74},
       .line = "Read-only file system"});
  add({.name = "the run directory is deleted",
       .settings = {"checkpoint.give_up_seconds=2"},
       .during = [](const Victim& victim) { fs::remove_all(victim.run); },
       .codes = {74, 99},
       .line = "muster: ",
       .goes_on = false});
  add({.name = "the newest checkpoint is damaged between runs",
       .before = [](const Victim& victim) { damage(checkpoints(victim.run).back()); },
       .codes = {0},
       .line = "g0001-step-\\d+ is passed over|damaged|SHA-256|sha256"});
  add({.name = "all checkpoints are damaged between runs",
       .before =
           [](const Victim& victim) {
             for (const fs::path& one : checkpoints(victim.run)) damage(one);
           },
       .codes = {74},
       .line = "checkpoint",
       .goes_on = false});
  add({.name = "a partition is truncated while it is read",
       .during =
           [](const Victim& victim) {
             fs::resize_file(partition(victim, 1), fs::file_size(partition(victim, 1)) / 2);
           },
       .codes = {65},
       .line = "part-00001.h5",
       .goes_on = false});
  add({.name = "a partition is replaced by another",
       .during =
           [](const Victim& victim) {
             fs::copy_file(partition(victim, 0), victim.scratch / "other.h5");
             fs::rename(victim.scratch / "other.h5", partition(victim, 1));
           },
       .codes = {65},
       .line = "part-00001.h5.*other values than those that were validated",
       .goes_on = false});
  add({.name = "a partition is removed",
       .during = [](const Victim& victim) { fs::remove(partition(victim, 1)); },
       .codes = {65, 74},
       .line = "part-00001.h5",
       .goes_on = false});
  add({.name = "a truncated partition is passed over",
       .settings = {"data.on_bad_rows=quarantine", "data.most_bad_rows=0.5"},
       .during =
           [](const Victim& victim) {
             fs::resize_file(partition(victim, 1), fs::file_size(partition(victim, 1)) / 2);
           },
       .codes = {0},
       .line = "rows are passed over from here on: .*part-00001.h5"});
  add({.name = "a partition has changed between runs",
       .before = [](const Victim& victim) { flip_byte(partition(victim, 2), 0); },
       .codes = {65},
       .line = "part-00002.h5.*changed since",
       .goes_on = false});
  add({.name = "the contract has changed between runs",
       .before =
           [](const Victim& victim) {
             std::ofstream(victim.data / "contract.yaml", std::ios::app) << "never_features: [f0]\n";
           },
       .codes = {65, 78},
       .line = "contract.yaml",
       .goes_on = false});
  add({.name = "a storm of signals",
       .during =
           [](const Victim& victim) {
             for (int i = 0; i < 60; ++i) {
               victim.ranks->signal(victim.random->below(2) == 0 ? SIGUSR1 : SIGUSR2);
               std::this_thread::sleep_for(std::chrono::milliseconds(5));
             }
           },
       .codes = {75},
       .line = "stopped \\(signal\\)"});
  add({.name = "a file STOP",
       .during = [](const Victim& victim) { std::ofstream(victim.run / "STOP") << ""; },
       .codes = {75},
       .line = "stopped \\("});
  add({.name = "the wall time is near",
       .settings = {"train.wall_seconds=14", "train.steps=1000000"},
       .codes = {75},
       .line = "stopped \\(wall time",
       .seconds = 60});
  add({.name = "two jobs in one run directory",
       .during =
           [](const Victim& victim) {
             ChildProcess second({own_program().string(), "train", (victim.scratch / "config.yaml").string()},
                                 {{}, victim.scratch / "output.txt", false});
             const int code = second.wait();
             std::ofstream(victim.scratch / "output.txt", std::ios::app)
                 << fmt::format("the second job ended with {}\n", code);
           },
       .codes = {0},
       .line = "is in use by process[\\s\\S]*the second job ended with 78"});
  add({.name = "another config on one rank",
       .codes = {78},
       .line = "another config on rank 2 than on rank 0",
       .command = {"mpirun", "-np", "2", "--oversubscribe", "{MUSTER}", "train", "{CONFIG}", ":", "-np", "1",
                   "{MUSTER}", "train", "{CONFIG}", "--set", "run.seed=8"},
       .goes_on = false});
  add({.name = "another program on one rank",
       .before =
           [](const Victim& victim) {
             fs::copy_file(own_program(), victim.scratch / "other-muster");
             std::ofstream(victim.scratch / "other-muster", std::ios::app | std::ios::binary) << "x";
           },
       .codes = {78},
       .line = "another program .*on rank 2 than on rank 0",
       .command = {"mpirun", "-np", "2", "--oversubscribe", "{MUSTER}", "train", "{CONFIG}", ":", "-np", "1",
                   "{SCRATCH}/other-muster", "train", "{CONFIG}"},
       .goes_on = false});
  add({.name = "the mpirun of another MPI",
       .codes = {78},
       .line = "started 2 ranks, MPI sees one: it belongs to another MPI library",
       .command = {"env", "-u", "PMIX_RANK", "PMI_RANK=0", "PMI_SIZE=2", "{MUSTER}", "train", "{CONFIG}"},
       .goes_on = false});
  return faults;
}

/// One fault in a directory of its own.
class Trial {
 public:
  Trial(const Fault& fault, fs::path scratch, std::uint64_t seed) : fault_(fault), random_(seed) {
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
    if (!code) return wrong("it hangs");
    const int mapped = exit_code_of_ranks(*code);
    if (std::ranges::find(fault_.codes, mapped) == fault_.codes.end())
      return wrong(
          fmt::format("it ended with {} ({}), not {}", mapped, *code, fmt::join(fault_.codes, " or ")));
    if (!std::regex_search(text_of(output()), std::regex(fault_.line)))
      return wrong(fmt::format("no line like /{}/", fault_.line));
    if (seconds > fault_.seconds + kStartSeconds) return wrong(fmt::format("it took {:.0f} s", seconds));
    return fault_.goes_on && mapped != 0 ? go_on() : "";
  }

 private:
  static constexpr double kStartSeconds = 15;  // where the fault comes with the start

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

  const Fault& fault_;
  RandomStream random_;
  Victim victim_;
};

fs::path make_data(const fs::path& scratch) {
  const fs::path data = scratch / "data";
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"generate", "tabular", "--rows", "12000", "--partitions", "3", "--seed", "5",
                                 "--out", data.string()},
        std::vector<std::string>{"validate", data.string()}}) {
    std::vector<std::string> command = {own_program().string()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    ChildProcess child(command, {{}, scratch / "output.txt", false});
    if (const int code = child.wait(); code != 0)
      throw Error(ErrorCode::kBug, fmt::format("`{}` ended with {}", join(command, " "), code),
                  (scratch / "output.txt").string());
  }
  return data;
}

}  // namespace

Json selftest_faults(Console& console, const SelftestOptions& options) {
  const std::vector<Fault> faults = all_faults();
  if (options.only && *options.only >= faults.size())
    fail(ErrorCode::kUsage, "--only {}: the faults have the numbers 0 to {}", *options.only,
         faults.size() - 1);
  console.line(fmt::format("seed {}", options.seed));
  const fs::path data = make_data(options.scratch);
  Json failures = Json::array();
  Json times = Json::object();
  for (std::uint64_t number = 0; number < faults.size(); ++number) {
    // The small size takes every third, from the seed's on.
    if (options.only ? *options.only != number : !options.full && number % 3 != options.seed % 3) continue;
    const Fault& fault = faults[number];
    console.status(fmt::format("fault {} of {}: {}", number + 1, faults.size(), fault.name));
    const fs::path scratch = options.scratch / fmt::format("fault-{}", number);
    Trial trial(fault, scratch, options.seed);
    const std::string broken = trial.run(data);
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
