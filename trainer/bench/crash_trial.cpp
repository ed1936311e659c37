#include "trainer/bench/crash_trial.h"

#include <algorithm>
#include <optional>
#include <random>
#include <set>
#include <utility>

#include "core/text.h"
#include "trainer/checkpoint/checkpoint_manifest.h"
#include "trainer/checkpoint/checkpoint_shards.h"
#include "trainer/checkpoint/checkpoint_store.h"

namespace muster {
namespace {

const std::filesystem::path kDirectory = "/run/checkpoints";

std::vector<std::byte> bytes_of(std::uint64_t seed, std::size_t count) {
  std::vector<std::byte> bytes(count);
  std::mt19937 random(static_cast<std::uint32_t>(seed));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

/// Different for every step, so that one cannot pass for another.
CheckpointContent content_of(std::uint64_t step) {
  CheckpointContent content;
  content.step = step;
  content.state = {{"cursor", {{"epoch", 0}, {"step", step}}}};
  content.pipeline = {{"fields", {1, 2.5, step}}};
  content.contract_yaml = "version: 1\n";
  content.model = {{"layer.weight", "F32", {2, 3}, bytes_of(step, 24)},
                   {"layer.bias", "F32", {3}, bytes_of(step + 1, 12)}};
  content.optimizer = {{"layer.bias.exp_avg", "F32", {3}, bytes_of(step + 2, 12)}};
  return content;
}

bool same(const CheckpointContent& a, const CheckpointContent& b) {
  return a.step == b.step && a.state == b.state && a.pipeline == b.pipeline &&
         a.contract_yaml == b.contract_yaml && a.model == b.model && a.optimizer == b.optimizer;
}

/// The life of a run as its ranks see it, and what they were told.
class Life {
 public:
  explicit Life(FaultyFileSystem& files) : files_(files) {
    files_.make_directories("/run");
    files_.sync_directory("/");
  }

  CrashVerdict verdict;

  /// Three starts; each continues where the one before ended. A start that fails is made once more.
  void live() {
    for (const auto& [first, ranks] : {std::pair{0U, 1U}, {25U, 2U}, {45U, 3U}}) {
      if (!start() && !start()) continue;
      for (std::uint64_t step = first; step < first + 15; step += 5) commit(step, ranks);
    }
  }

  bool start() {
    const auto started = attempt([&] {
      store_.emplace(files_, kDirectory, "run-1");
      const auto parent = store_->latest_good().checkpoint;
      store_->claim(parent ? parent->name : "");
      return true;
    });
    if (!started) ++verdict.failures;
    return started.ok();
  }

  /// As CheckpointRound does it, with the ranks one after another; a failed one is tried again once.
  void commit(std::uint64_t step, unsigned ranks) {
    const CheckpointContent content = content_of(step);
    const std::string name = checkpoint_name(store_->generation(), step);
    const std::size_t lies_before = lies();
    for (unsigned attempts = 1; attempts <= 2; ++attempts) {
      const std::filesystem::path draft = draft_of(kDirectory, name, attempts);
      const auto published = attempt([&] {
        FileStamps stamps;
        const CheckpointPart all = whole(content);
        for (unsigned rank = 0; rank < ranks; ++rank) {
          CheckpointPart part;
          for (std::size_t i = rank; i < all.files.size(); i += ranks) part.files.push_back(all.files[i]);
          stamps.merge(write_part(files_, draft, part));
        }
        return store_->publish(draft, {step, content.state}, stamps);
      });
      if (published) {
        ++verdict.commits;
        if (lies() == lies_before) last_committed_ = name;
        store_->tidy(name, {2});
        return;
      }
      ++verdict.failures;
      store_->drop(draft);
    }
  }

  /// What the next start finds, against what was promised.
  void check(const char* when) {
    CheckpointStore store(files_, kDirectory, "run-1");
    const auto choice = store.latest_good();
    const std::string name = choice.checkpoint ? choice.checkpoint->name : "";
    if (name < last_committed_) {  // names sort by generation, then step
      broken(when,
             fmt::format(
                 "'{}' is chosen, {} was committed{}", name, last_committed_,
                 choice.rejected.empty() ? "" : fmt::format(" ({})", choice.rejected.front().reason.what())));
    }
    if (choice.checkpoint) {
      const auto content = load_checkpoint(files_, choice.checkpoint->directory);
      if (!content) broken(when, fmt::format("{} is chosen, but: {}", name, content.error().what()));
      if (content && !same(content.value(), content_of(choice.checkpoint->step)))
        broken(when, name + " holds something else than was written");
    }
    if (lies() > 0) return;
    for (const std::string& entry : files_.list(kDirectory)) {
      if (!CheckpointName::parse(entry)) continue;
      const auto whole_one = verify_checkpoint(files_, kDirectory / entry);
      if (!whole_one)
        broken(when, fmt::format("half of one lies under {}: {}", entry, whole_one.error().what()));
    }
  }

  /// One more start after all that: it goes on, and its checkpoint survives.
  void go_on() {
    const auto went_on = attempt([&] {
      store_.emplace(files_, kDirectory, "run-1");
      const auto parent = store_->latest_good().checkpoint;
      store_->claim(parent ? parent->name : "");
      last_committed_ = store_->commit(content_of(90), {2});
      return true;
    });
    if (!went_on) broken("after it", fmt::format("the run cannot go on: {}", went_on.error().what()));
    for (const std::string& entry : files_.list(kDirectory)) {
      if (entry.starts_with('.')) broken("after it", entry + " is left lying about");
    }
    files_.restart(CrashKeeps::kSynced, 0);
    check("after one more start");
  }

  void lie_at(std::uint64_t operation) { lie_ = operation; }

 private:
  /// Syncs that lied so far.
  std::size_t lies() const { return lie_ && files_.operations() > *lie_ ? 1 : 0; }
  void broken(const char* when, const std::string& what) {
    verdict.broken.push_back(fmt::format("{}: {}", when, what));
  }

  FaultyFileSystem& files_;
  std::optional<CheckpointStore> store_;
  std::string last_committed_;
  std::optional<std::uint64_t> lie_;
};

/// Digits of what differs between runs and ranks' attempts taken out.
std::string without_numbers(const std::string& site) {
  std::string result;
  for (std::size_t i = 0; i < site.size(); ++i) {
    const bool digit = site[i] >= '0' && site[i] <= '9';
    const bool of_shard = site.find(".safetensors") != std::string::npos && i > site.rfind('/');
    if (!digit || of_shard) {
      result += site[i];
    } else if (result.empty() || result.back() != 'N') {
      result += 'N';
    }
  }
  // Claims are drafted under random names.
  if (const std::size_t claim = result.find("/claims/."); claim != std::string::npos)
    result = result.substr(0, claim) + "/claims/.draft";
  return result;
}

}  // namespace

std::vector<std::string> crash_sites() {
  FaultyFileSystem files;
  Life life(files);
  life.live();
  std::vector<std::string> sites = files.sites();
  for (std::string& site : sites) site = without_numbers(site);
  return sites;
}

CrashVerdict run_crash_trial(const CrashTrial& trial) {
  FaultyFileSystem files;
  Life life(files);
  files.set_fault(trial.operation, trial.fault);
  if (trial.fault == FileFault::kLostSync) life.lie_at(trial.operation);
  try {
    life.live();
  } catch (const SimulatedCrash&) {
    life.verdict.crashed = true;
  }
  if (!life.verdict.crashed) life.check("after it");
  files.restart(trial.keeps, trial.seed);
  life.check("after a crash");
  life.go_on();
  return life.verdict;
}

namespace {

/// What the second start does while the first stands still.
struct Successor {
  std::string parent;
  std::string committed;
};

Successor take_over(FileSystem& files, bool commits) {
  CheckpointStore store(files, kDirectory, "run-1");
  Successor successor;
  const auto parent = store.latest_good().checkpoint;
  successor.parent = parent ? parent->name : "";
  store.claim(successor.parent);
  if (commits) successor.committed = store.commit(content_of(70), {2});
  return successor;
}

/// The first start: publishes steps 5, 10, 15 until it is told to end.
std::optional<Error> publish_three(CheckpointStore& store) {
  for (const std::uint64_t step : {5, 10, 15}) {
    const auto committed = attempt([&] { return store.commit(content_of(step), {2}); });
    if (!committed) return committed.error();
  }
  return std::nullopt;
}

CheckpointStore claimed_with_one(FileSystem& files) {
  files.make_directories("/run");
  files.sync_directory("/");
  CheckpointStore store(files, kDirectory, "run-1");
  store.claim("");
  store.commit(content_of(0), {2});
  return store;
}

}  // namespace

std::uint64_t orphan_operations() {
  FaultyFileSystem files;
  CheckpointStore store = claimed_with_one(files);
  const std::uint64_t before = files.operations();
  (void)publish_three(store);
  return files.operations() - before;
}

CrashVerdict run_orphan_trial(std::uint64_t operation, bool successor_commits) {
  FaultyFileSystem files;
  CheckpointStore orphan = claimed_with_one(files);
  CrashVerdict verdict;
  Successor successor;
  files.before(files.operations() + operation, [&] { successor = take_over(files, successor_commits); });
  const std::optional<Error> end = publish_three(orphan);
  // The successor tidies up: the orphan can find its half-written files gone before it sees the claim.
  if (end && end->code() != ErrorCode::kNothingToDo && end->code() != ErrorCode::kStorage)
    verdict.broken.push_back(fmt::format("the orphan ends with: {}", end->what()));
  const auto next = attempt([&] { return orphan.commit(content_of(20), {2}); });
  if (next || next.error().code() != ErrorCode::kNothingToDo)
    verdict.broken.push_back(fmt::format("the orphan goes on: {}", next ? "" : next.error().what()));
  const std::string expected = successor_commits ? successor.committed : successor.parent;
  for (const char* when : {"after it", "after a power cut"}) {
    CheckpointStore store(files, kDirectory, "run-1");
    const auto choice = store.latest_good().checkpoint;
    const std::string chosen = choice ? choice->name : "";
    if (chosen != expected)
      verdict.broken.push_back(fmt::format("{}: '{}' is chosen, not {}", when, chosen, expected));
    files.restart(CrashKeeps::kSynced, 0);
  }
  return verdict;
}

}  // namespace muster
