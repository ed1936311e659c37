#include "launch/drilled_faults.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>
#include <utility>

#include "launch/programs.h"
#include "trainer/runlog/events.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

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
    if (entry.path().filename().string().starts_with('g')) found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

void damage(const fs::path& checkpoint) {
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    if (entry.path().extension() == ".safetensors") flip_byte(entry.path(), fs::file_size(entry.path()) / 2);
  }
}

}  // namespace

std::uint64_t last_step(const fs::path& run) {
  const auto files = make_posix_file_system();
  std::uint64_t step = 0;
  if (!files->exists(run / "events.jsonl")) return 0;
  for (const Json& event : read_events(*files, run / "events.jsonl")) {
    if (event_text(event, "event") == "step") step = event_number(event, "step");
  }
  return step;
}

std::vector<DrilledFault> drilled_faults() {
  const std::vector<std::string> watched = {"log.deadline_seconds=10"};
  std::vector<DrilledFault> faults;
  const auto add = [&faults](DrilledFault fault) { faults.push_back(std::move(fault)); };

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
       .line = "rank 1"});
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
       .settings = {"train.steps=600", "train.on_bad_step=rollback", "train.spike_factor=50",
                    "train.compare_every_steps=0"},
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
       .during = [](const Victim& victim) { fs::rename(victim.run, victim.scratch / "gone"); },
       .codes = {74},
       .line = "claim is gone: was the run directory removed",
       .goes_on = false});
  add({.name = "the newest checkpoint is damaged between runs",
       .settings = {"train.steps=600"},
       .before = [](const Victim& victim) { damage(checkpoints(victim.run).back()); },
       .codes = {0},
       .line = "g0001-step-\\d+ is passed over|damaged|SHA-256|sha256"});
  add({.name = "all checkpoints are damaged between runs",
       .before =
           [](const Victim& victim) {
             for (const fs::path& one : checkpoints(victim.run)) damage(one);
           },
       .codes = {74},
       .line = "no checkpoint is good",
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
       .settings = {"train.steps=2500", "data.on_bad_rows=quarantine", "data.most_bad_rows=0.5"},
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
       .line = "stopped \\(signal\\)",
       .command = {"{MUSTER}", "launch", "-n", "3", "{CONFIG}"}});
  add({.name = "a file STOP",
       .during = [](const Victim& victim) { std::ofstream(victim.run / "STOP") << ""; },
       .codes = {75},
       .line = "stopped \\("});
  add({.name = "a signal while a read does not come back",
       .drill = "slow-read@100:1",
       .settings = {"train.steps=1000000"},
       .during =
           [](const Victim& victim) {
             while (last_step(victim.run) < 100 && !victim.ranks->wait(std::chrono::milliseconds(20))) {
             }
             std::this_thread::sleep_for(std::chrono::seconds(5));  // until what was read ahead is used up
             victim.ranks->signal(SIGUSR1);
           },
       .codes = {75},
       .line = "stopped while rank 1 still waited for its data",
       .seconds = 20});
  add({.name = "the system clock of rank 0 jumps",
       .drill = "clock@20:0",
       .settings = {"train.steps=600", "train.wall_seconds=3600", "checkpoint.every_seconds=3600"},
       .codes = {0},
       .line = "finished"});
  add({.name = "the wall time is near",
       .settings = {"train.wall_seconds=14", "train.steps=1000000"},
       .codes = {75},
       .line = "stopped \\(wall time",
       .seconds = 60});
  add({.name = "two jobs in one run directory",
       .settings = {"train.steps=1000000"},
       .during =
           [](const Victim& victim) {
             ChildProcess second({own_program().string(), "train", (victim.scratch / "config.yaml").string(),
                                  "--set", "train.steps=1000000"},
                                 {{}, victim.scratch / "output.txt", false});
             const auto code = second.wait(std::chrono::minutes(1));
             std::ofstream(victim.scratch / "output.txt", std::ios::app)
                 << fmt::format("the second job ended with {}\n", code.value_or(-1));
             victim.ranks->signal(SIGUSR1);
           },
       .codes = {75},
       .line = "is in use by process",
       .and_line = "the second job ended with 78"});
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

}  // namespace muster
