// `muster launch`: starts the ranks of a training on this host, hands signals on when they can take them, and
// starts again what failed.

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <map>
#include <optional>
#include <thread>

#include "core/child_process.h"
#include "core/cores.h"
#include "core/host_name.h"
#include "core/text.h"
#include "launch/invocation.h"
#include "launch/mpirun.h"
#include "launch/programs.h"
#include "launch/ranks.h"
#include "launch/restarts.h"
#include "launch/signals.h"
#include "trainer/loop/run_start.h"
#include "trainer/runlog/events.h"
#include "trainer/runlog/run_directory.h"

namespace muster {
namespace {

constexpr std::uint64_t kMostRanks = 4096;  ///< on one host

struct LaunchFlags {
  std::string config;
  std::uint64_t ranks = 0;
  std::uint64_t restarts = 0;
  std::string mpirun = "mpirun";
  std::vector<std::string> mpirun_options;
  bool dry_run = false;
};

/// Values of `--name value` and `--name=value` among options of train.
std::vector<std::string> values_of(const std::vector<std::string>& options, const std::string& name) {
  std::vector<std::string> values;
  for (std::size_t i = 0; i < options.size(); ++i) {
    if (options[i] == name && i + 1 < options.size()) values.push_back(options[i + 1]);
    if (options[i].starts_with(name + "=")) values.push_back(options[i].substr(name.size() + 1));
  }
  return values;
}

/// One training as a launcher sees it: a command line, and a run directory to look into.
class Launch {
 public:
  Launch(LaunchFlags flags, std::vector<std::string> options, bool json)
      : flags_(std::move(flags)), options_(std::move(options)), console_(json, false), json_(json) {
    files_ = make_posix_file_system();
    const std::vector<std::string> overrides = values_of(options_, "--set");
    const bool other_run = std::ranges::any_of(overrides, [](const std::string& text) {
      return text.starts_with("run.name=") || text.starts_with("run.dir=");
    });
    Config config = Config::load(flags_.config, overrides, registered_model_options());
    if (!other_run) config = at_its_run(*files_, flags_.config, config);
    find_directory(config);
  }

  std::vector<std::string> command() const {
    std::vector<std::string> words = mpirun_command(flags_.mpirun, flags_.ranks, flags_.mpirun_options);
    words.push_back(own_program().string());
    words.emplace_back("train");
    words.push_back(flags_.config);
    words.insert(words.end(), options_.begin(), options_.end());
    return words;
  }

  int run() {
    if (flags_.dry_run) {
      std::vector<std::string> words;
      for (const std::string& word : command()) words.push_back(shell_quoted(word));
      console_.result({{"command", command()}}, join(words, " "));
      return 0;
    }
    console_.line(fmt::format("launch: {} ranks on {}, run directory {}", flags_.ranks, host_name(),
                              directory_.string()));
    RestartRule rule(flags_.restarts);
    Json starts = Json::array();
    while (true) {
      const StartEnd end = start_once();
      starts.push_back({{"exit_code", end.code}, {"step", end.step}, {"cause", end.cause}});
      const RestartRule::Decision decision =
          signal_requests().stop ? RestartRule::Decision{} : rule.after(end);
      if (!decision.reason.empty()) console_.warning("muster launch: not started again: " + decision.reason);
      if (end.step > 0) go_on_from_the_newest();
      if (!decision.again || !wait_before_restart(end, decision.wait_seconds))
        return finish(starts, end.code);
    }
  }

 private:
  /// `--resume` is about the first start: a new directory, or a certain checkpoint; all others go on from the
  /// newest one there.
  void find_directory(const Config& config) {
    std::filesystem::path base = config.text_at("run", "dir");
    std::string name = config.text_at("run", "name");
    const std::vector<std::string> resume = values_of(options_, "--resume");
    const std::string wanted = resume.empty() ? "auto" : resume.back();
    if (wanted == "never") {
      name = unused_run_directory(*files_, base, name).filename().string();
      remove_option("--resume");
      options_.insert(options_.end(), {"--set", "run.name=" + name});
    } else if (wanted != "auto") {
      std::filesystem::path path = wanted;
      if (!path.has_filename()) path = path.parent_path();
      directory_ = files_->exists(path / "checkpoints") ? path : path.parent_path().parent_path();
      return;
    }
    directory_ = base / name;
  }

  void remove_option(const std::string& name) {
    for (std::size_t i = 0; i < options_.size();) {
      const auto at = options_.begin() + static_cast<std::ptrdiff_t>(i);
      if (options_[i] == name) {
        options_.erase(at, i + 1 < options_.size() ? at + 2 : at + 1);
      } else if (options_[i].starts_with(name + "=")) {
        options_.erase(at);
      } else {
        ++i;
      }
    }
  }

  void go_on_from_the_newest() {
    if (values_of(options_, "--resume").empty()) return;
    remove_option("--resume");
    options_.insert(options_.end(), {"--resume", directory_.string()});
  }

  StartEnd start_once() {
    ChildOptions options;
    options.piped = true;
    options.environment = mpirun_environment();
    const auto events_before = event_files();
    ChildProcess ranks(command(), options);
    std::atomic<bool> ready{false};
    std::thread reader([&] {
      while (const auto line = ranks.read_line()) {
        if (*line == "ready") ready = true;
        console_.line(*line);
      }
    });
    const int code = watch(ranks, ready);
    reader.join();
    StartEnd end = recorded_end(events_before);
    end.code = exit_code_of_ranks(code);
    // A signal that reaches mpirun when its ranks have ended kills it: what the ranks said of their end
    // counts.
    if (end.recorded >= 0 && (code == 128 + SIGUSR1 || code == 128 + SIGUSR2)) end.code = end.recorded;
    if (end.code != code) {
      console_.warning(fmt::format("muster launch: the ranks ended with {}{}: exit code {}", code,
                                   code > 128 ? fmt::format(" (signal {})", code - 128) : "", end.code));
    }
    return end;
  }

  /// Holds signals back until the ranks have their handlers: before, one would kill them.
  int watch(ChildProcess& ranks, const std::atomic<bool>& ready) {
    int stops = 0;
    while (true) {
      if (const auto code = ranks.wait(std::chrono::milliseconds(20))) return *code;
      if (stop_signals() > 2) ranks.signal_group(SIGKILL);
      if (!ready) continue;
      if (signal_requests().stop && stops == 0) {
        ranks.signal(SIGUSR1);
        stops = 1;
      }
      if (signal_requests().save.exchange(false) && stops == 0) ranks.signal(SIGUSR2);  // a stop saves too
    }
  }

  /// Sizes of the run's event files; empty where they cannot be looked at, as the storage fails.
  std::map<std::string, std::uint64_t> event_files() const {
    std::map<std::string, std::uint64_t> sizes;
    const auto looked = attempt([&] {
      for (const std::string& entry : files_->list(directory_)) {
        if (entry.starts_with("events.") && entry.ends_with("jsonl"))
          sizes[entry] = files_->size(directory_ / entry);
      }
      return true;
    });
    return looked ? sizes : std::map<std::string, std::uint64_t>();
  }

  /// What the run's events of this start say of its end, as far as they can be read.
  StartEnd recorded_end(const std::map<std::string, std::uint64_t>& before) const {
    StartEnd end;
    for (const auto& named : event_files()) {
      const auto earlier = before.find(named.first);
      const std::uint64_t first = earlier != before.end() ? earlier->second : 0;
      const auto text = attempt([&] { return files_->read_text(directory_ / named.first); });
      if (!text || text.value().size() <= first) continue;
      for (const std::string& line : split(std::string_view(text.value()).substr(first), '\n')) {
        const Json event = Json::parse(line, nullptr, false);
        if (!event.is_object()) continue;
        if (event_text(event, "event") == "step") end.step = std::max(end.step, event_number(event, "step"));
        if (event_text(event, "event") == "fault") end.cause = event_text(event, "message");
        if (event_text(event, "event") == "stopped")
          end.recorded = static_cast<int>(ErrorCode::kCheckpointed);
        if (event_text(event, "event") == "run_finished") end.recorded = 0;
      }
    }
    return end;
  }

  /// False if a stop was asked for meanwhile.
  bool wait_before_restart(const StartEnd& end, double seconds) {
    console_.warning(fmt::format("muster launch: ended with {} after step {}: the next start is in {}",
                                 end.code, end.step, human_seconds(seconds)));
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (std::chrono::steady_clock::now() < until) {
      if (signal_requests().stop) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
  }

  int finish(const Json& starts, int code) {
    if (json_)
      console_.result({{"starts", starts}, {"exit_code", code}, {"directory", directory_.string()}}, "");
    return code;
  }

  LaunchFlags flags_;
  std::vector<std::string> options_;
  Console console_;
  bool json_;
  std::unique_ptr<FileSystem> files_;
  std::filesystem::path directory_;
};

/// Before ranks are started only to say so; and a value behind a misspelled option was taken for CONFIG.
void refuse_unknown_options(const CLI::App& train, const CLI::App& launch) {
  std::vector<std::string> known;
  for (const CLI::App* command : {&train, &launch}) {
    for (const CLI::Option* option : command->get_options()) {
      if (!option->get_lnames().empty()) known.push_back("--" + option->get_lnames().front());
    }
  }
  for (const std::string& word : launch.remaining()) {
    const std::string name = word.substr(0, word.find('='));
    if (!word.starts_with('-') || train.get_option_no_throw(name) != nullptr) continue;
    throw CLI::ValidationError(
        fmt::format("neither launch nor train has an option '{}'{}", name, did_you_mean(name, known)));
  }
}

}  // namespace

void add_launch(CLI::App& app, Invocation& invocation) {
  CLI::App* command = add_command(
      app, invocation, "launch",
      "start a training on several ranks of this host; hands signals on, starts again what failed",
      "muster launch -n 2 --restarts 5 configs/card-fraud.yaml --set train.epochs=3");
  auto flags = std::make_shared<LaunchFlags>();
  command->add_option("CONFIG", flags->config, "the configuration; what follows are options of muster train")
      ->required();
  command->add_option("-n,--ranks", flags->ranks, "ranks (default: as many as there are cores)")
      ->check(CLI::Range(std::uint64_t{1}, kMostRanks));
  command
      ->add_option("--restarts", flags->restarts,
                   "how often it is started again when a rank, a peer or the storage fails")
      ->check(not_negative())
      ->capture_default_str();
  command->add_option("--mpirun", flags->mpirun, "the mpirun to start")->capture_default_str();
  command->add_option("--mpirun-option", flags->mpirun_options, "handed to mpirun as it is; can be repeated")
      ->allow_extra_args(false);
  command->add_flag("--dry-run", flags->dry_run, "print the command line; start nothing");
  command->allow_extras();
  command->callback([&app, &invocation, flags, command] {
    refuse_unknown_options(*app.get_subcommand("train"), *command);
    invocation.action = [&invocation, flags, options = command->remaining()] {
      if (launched_by_mpi()) fail(ErrorCode::kUsage, "muster launch starts mpirun itself: use muster train");
      if (flags->ranks == 0) flags->ranks = usable_cores();
      return Launch(*flags, options, invocation.json).run();
    };
  });
}

}  // namespace muster
