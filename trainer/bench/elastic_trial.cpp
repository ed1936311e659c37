#include "trainer/bench/elastic_trial.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <stdexcept>
#include <utility>

#include "core/faulty_file_system.h"
#include "core/hooked_file_system.h"
#include "core/random.h"
#include "core/text.h"
#include "data_loader/order/order_digest.h"
#include "trainer/bench/trial_data.h"
#include "trainer/comm/local_communicator.h"
#include "trainer/loop/trainer.h"
#include "trainer/runlog/events.h"

namespace muster {
namespace {

/// From less than a batch to some hundred blocks; nothing divides anything.
constexpr TrialData kDataSets[kElasticDataSets] = {{23, 1, 1, 7},   {97, 2, 2, 5},  {211, 3, 3, 32},
                                                   {300, 4, 1, 10}, {411, 5, 4, 9}, {640, 6, 2, 64},
                                                   {733, 7, 5, 11}, {900, 8, 3, 3}};

const std::filesystem::path kRun = "/runs/elastic";

/// Thrown on the rank that is killed.
struct Killed : std::runtime_error {
  Killed() : std::runtime_error("killed") {}
};

ElasticStart random_start(RandomStream& random, int ranks, std::uint64_t about) {
  ElasticStart start;
  start.ranks = ranks;
  const std::uint64_t kind = random.below(10);
  start.end = kind < 2   ? ElasticStart::End::kStop
              : kind < 6 ? ElasticStart::End::kKillAtStep
                         : ElasticStart::End::kKillAtChange;
  start.at = 1 + (start.end == ElasticStart::End::kKillAtChange ? random.below(120) : random.below(about));
  return start;
}

Config config_of(const ElasticSchedule& schedule, const std::filesystem::path& data) {
  const std::string text = fmt::format(
      "run: {{name: elastic, dir: /runs, seed: {}}}\ndata: {{dataset: {}, leaks: warn}}\n"
      "model: {{name: mlp, hidden: [3]}}\nbatch: {{size: {}, lanes: {}, window: {}}}\n"
      "train: {{threads: 1, epochs: {}}}\nevaluate: {{split: {}}}\n"
      "checkpoint: {{every_steps: {}, every_seconds: 0, give_up_seconds: 0}}\n"
      "log: {{every_steps: 1, tensorboard: false}}\n",
      schedule.order.seed, Json(data.string()).dump(), schedule.order.batch_size, schedule.order.lanes,
      schedule.order.window, schedule.epochs, schedule.evaluates ? "validation" : "\"\"",
      schedule.checkpoint_every);
  return Config::parse(YamlNode::parse(text, "config.yaml"), {}, registered_model_options());
}

/// Whether a process lives that is played by threads; what it did stays, nothing more is done.
class Life {
 public:
  void die() { dead_ = true; }
  /// Before the change of a file with this number, from 0.
  void die_at(std::uint64_t change) { last_ = change; }
  bool dead() const { return dead_; }
  void before(const std::filesystem::path& path, bool changes) {
    if (changes && changes_++ >= last_) dead_ = true;
    if (dead_) throw Error(ErrorCode::kStorage, "killed", path.string());
  }

 private:
  std::atomic<bool> dead_{false};
  std::atomic<std::uint64_t> changes_{0};
  std::atomic<std::uint64_t> last_{~std::uint64_t{0}};
};

/// One start; true if it came to the run's end.
class Start {
 public:
  Start(const ElasticStart& start, const Config& config, FileSystem& files)
      : start_(start),
        config_(config),
        files_(files,
               [this](const std::filesystem::path& path, bool changes) { life_.before(path, changes); }),
        requests_(static_cast<std::size_t>(start.ranks)) {
    if (start.end == ElasticStart::End::kKillAtChange) life_.die_at(start.at);
  }

  TrainResult result;
  std::uint64_t steps = 0;  ///< of the run, as far as this start saw
  bool killed() const { return life_.dead(); }

  /// What went wrong, if anything did that nobody had in mind.
  std::string run() {
    try {
      run_local(start_.ranks, [this](Communicator& comm) { rank(comm); });
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kNothingToDo) result.outcome = TrainOutcome::kFinished;
      if (killed() || error.code() == ErrorCode::kNothingToDo) return "";
      return fmt::format("{} ranks: {}", start_.ranks, error.what());
    } catch (const std::exception& error) {
      return killed() ? "" : fmt::format("{} ranks: {}", start_.ranks, error.what());
    }
    return "";
  }

 private:
  void rank(Communicator& comm) {
    TrainOptions options(config_);
    options.requests = &requests_[static_cast<std::size_t>(comm.rank())];
    options.progress = [this](const Progress& progress) { after(progress.step); };
    const TrainResult mine = train(comm, files_, options);
    if (comm.rank() == 0) result = mine;
  }
  /// On rank 0, after each step.
  void after(std::uint64_t step) {
    steps = step;
    if (start_.end == ElasticStart::End::kStop && step >= start_.at) requests_.back().stop = true;
    if (start_.end == ElasticStart::End::kKillAtStep && step >= start_.at) life_.die();
    if (life_.dead()) throw Killed();
  }

  ElasticStart start_;
  const Config& config_;
  Life life_;
  HookedFileSystem files_;
  std::vector<StopRequests> requests_;
};

}  // namespace

ElasticSchedule ElasticSchedule::make(std::uint64_t seed, std::uint64_t number, int most_ranks) {
  RandomStream random(mix(mix(seed) + number));
  ElasticSchedule schedule;
  schedule.number = number;
  schedule.data_set = random.below(kElasticDataSets);
  schedule.evaluates = schedule.data_set > 1 && random.below(2) == 0;  // the smallest may have no row for it
  schedule.epochs = 1 + random.below(3);
  schedule.checkpoint_every = 1 + random.below(12);
  schedule.order.seed = random.below(1'000'000);
  schedule.order.lanes = static_cast<std::uint32_t>(most_ranks) + static_cast<std::uint32_t>(random.below(9));
  schedule.order.batch_size = schedule.order.lanes * static_cast<std::uint32_t>(1 + random.below(4));
  schedule.order.window = static_cast<std::uint32_t>(1 + random.below(5));
  const auto ranks = [&] {
    return static_cast<int>(1 + random.below(static_cast<std::uint64_t>(most_ranks)));
  };
  const std::uint64_t about =
      schedule.epochs * (kDataSets[schedule.data_set].rows * 2 / 3 / schedule.order.batch_size + 1);
  for (std::uint64_t more = 1 + random.below(4); more > 0; --more)
    schedule.starts.push_back(random_start(random, ranks(), about));
  schedule.starts.push_back({ranks(), ElasticStart::End::kFinish, 0});
  return schedule;
}

std::string ElasticSchedule::describe() const {
  std::vector<std::string> texts;
  for (const ElasticStart& start : starts) {
    const std::string how = start.end == ElasticStart::End::kFinish ? "to the end"
                            : start.end == ElasticStart::End::kStop
                                ? fmt::format("stopped after step {}", start.at)
                            : start.end == ElasticStart::End::kKillAtStep
                                ? fmt::format("killed after step {}", start.at)
                                : fmt::format("killed before its change {} of a file", start.at);
    texts.push_back(fmt::format("{} ranks {}", start.ranks, how));
  }
  return fmt::format("data set {}, {} lanes, batch {}, window {}, {} epochs: {}", data_set, order.lanes,
                     order.batch_size, order.window, epochs, join(texts, ", "));
}

std::filesystem::path elastic_data_set(const std::filesystem::path& scratch, std::uint64_t number) {
  const std::filesystem::path directory = scratch / fmt::format("data-{}", number);
  make_trial_data(directory, kDataSets[number]);
  return directory;
}

ExpectedOrder expected_order(const Dataset& dataset, const OrderSettings& order, std::uint64_t epochs) {
  const RowIndex& index = dataset.row_index();
  const std::uint8_t split = index.split("train");
  std::set<std::pair<std::uint32_t, std::uint64_t>> all;
  for (std::uint32_t block = 0; block < index.blocks().size(); ++block) {
    for (const std::uint32_t row : index.rows_of(split, block))
      all.insert({index.blocks()[block].partition, index.blocks()[block].first_row + row});
  }
  const SampleOrder samples(index.rows_per_block(split), order);
  ExpectedOrder expected;
  expected.rows = all.size();
  expected.steps_per_epoch = samples.steps_per_epoch();
  for (std::uint64_t epoch = 0; epoch < epochs; ++epoch) {
    StepRows rows(index, split, samples.epoch(epoch));
    std::set<std::pair<std::uint32_t, std::uint64_t>> used;
    std::uint64_t count = 0;
    for (std::uint64_t step = 0; step < expected.steps_per_epoch; ++step) {
      for (const RowId row : rows.rows(step, {0, order.lanes})) {
        used.insert({row.partition, row.row});
        ++count;
      }
      expected.steps.push_back(rows.digest(step));
      expected.running = chain(expected.running, expected.steps.back());
    }
    if (used != all || count != all.size())
      expected.broken.push_back(fmt::format("epoch {} uses {} rows, {} different ones, of {}", epoch, count,
                                            used.size(), all.size()));
  }
  return expected;
}

std::vector<std::string> check_order(FileSystem& files, const std::filesystem::path& run,
                                     const ExpectedOrder& expected) {
  std::vector<std::string> broken = expected.broken;
  std::map<std::uint64_t, Json> steps;
  for (const Json& event : read_events(files, run / "events.jsonl")) {
    if (event_text(event, "event") == "step") steps[event_number(event, "step")] = event;
  }
  const std::string running = steps.empty() ? "" : event_text(steps.rbegin()->second, "running_digest");
  if (running != expected.running.hex())
    broken.push_back(fmt::format("the running digest is {}, not {}", running, expected.running.hex()));
  if (steps.size() != expected.steps.size())
    broken.push_back(fmt::format("{} steps were done, not {}", steps.size(), expected.steps.size()));
  for (const auto& [number, event] : steps) {
    if (number == 0 || number > expected.steps.size()) continue;
    if (event_text(event, "digest") != expected.steps[number - 1].hex())
      broken.push_back(fmt::format("step {} has other rows", number));
    if (number % expected.steps_per_epoch == 0 && event_number(event, "epoch_rows") != expected.rows)
      broken.push_back(fmt::format("the epoch that ends with step {} used {} rows of {}", number,
                                   event_number(event, "epoch_rows"), expected.rows));
  }
  return broken;
}

ElasticVerdict run_elastic_trial(const ElasticSchedule& schedule, const std::filesystem::path& scratch) {
  const std::filesystem::path data = elastic_data_set(scratch, schedule.data_set);
  const Config config = config_of(schedule, data);
  const ExpectedOrder expected = expected_order(Dataset::open(data), schedule.order, schedule.epochs);
  FaultyFileSystem files;
  ElasticVerdict verdict;
  const auto hit = [&verdict](const char* edge, bool is) { verdict.edges[edge] += is ? 1 : 0; };
  int ranks_before = 0;
  std::uint64_t killed = 0;
  bool finished = false;
  for (const ElasticStart& wanted : schedule.starts) {
    Start start(wanted, config, files);
    if (const std::string wrong = start.run(); !wrong.empty()) {
      verdict.broken.push_back(wrong);
      return verdict;
    }
    hit("killed after a step", start.killed() && wanted.end == ElasticStart::End::kKillAtStep);
    hit("killed at a change of a file", start.killed() && wanted.end == ElasticStart::End::kKillAtChange);
    hit("killed before the first step", start.killed() && start.steps == 0);
    hit("stopped", !start.killed() && start.result.outcome == TrainOutcome::kStopped);
    hit("went on with more ranks", ranks_before > 0 && wanted.ranks > ranks_before);
    hit("went on with fewer ranks", ranks_before > 0 && wanted.ranks < ranks_before);
    hit("went on with as many ranks", wanted.ranks == ranks_before);
    hit("finished before it was to end", wanted.end != ElasticStart::End::kFinish && !start.killed() &&
                                             start.result.outcome == TrainOutcome::kFinished);
    killed += start.killed() ? 1 : 0;
    finished = !start.killed() && start.result.outcome == TrainOutcome::kFinished;
    ranks_before = wanted.ranks;
    if (finished) break;                  // there is nothing more to do
    files.remove_all(kRun / "run.lock");  // of a process that is dead; this one, which played it, lives
  }
  hit("killed twice", killed > 1);
  hit("an uneven last step", expected.rows % schedule.order.batch_size != 0);
  if (!finished) verdict.broken.emplace_back("the last start did not finish");
  const std::vector<std::string> wrong = check_order(files, kRun, expected);
  verdict.broken.insert(verdict.broken.end(), wrong.begin(), wrong.end());
  return verdict;
}

}  // namespace muster
