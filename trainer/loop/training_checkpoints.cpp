#include "trainer/loop/training_checkpoints.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "core/text.h"
#include "trainer/comm/agreement.h"
#include "trainer/comm/gather.h"

namespace muster {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(50);
constexpr double kLeastInterval = 1;  ///< seconds

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

TrainingCheckpoints::TrainingCheckpoints(Communicator& comm, FileSystem& files, const Config& config,
                                         RunRecord* record, LogSink log, CheckpointFrame frame,
                                         CheckpointSnapshot snapshot)
    : comm_(comm),
      files_(files),
      config_(config),
      record_(record),
      log_(std::move(log)),
      frame_(std::move(frame)),
      snapshot_(std::move(snapshot)),
      round_(settings(frame_)) {}

CheckpointRound::Settings TrainingCheckpoints::settings(const CheckpointFrame& frame) const {
  CheckpointRound::Settings settings;
  settings.files = &files_;
  settings.directory = frame.directory / "checkpoints";
  settings.rank = comm_.rank();
  settings.world = comm_.size();
  settings.retry.give_up_seconds = config_.number_at("checkpoint", "give_up_seconds");
  settings.has_checkpoint = frame.resumed;
  settings.clock = [begin = SteadyClock::now()] { return seconds_since(begin); };
  settings.drop = [record = record_](const std::filesystem::path& draft) { record->drop(draft); };
  return settings;
}

CheckpointPart TrainingCheckpoints::snapshot() {
  CheckpointPart used = round_.failing() ? CheckpointPart{} : round_.reclaim();
  CheckpointPart part = snapshot_.take(std::move(used));
  if (comm_.rank() == 0) {
    for (CheckpointFile& file : text_files(frame_.pipeline, frame_.contract_yaml, snapshot_.model_index()))
      part.files.push_back(std::move(file));
  }
  return part;
}

void TrainingCheckpoints::begin(std::uint64_t step, Json state, const std::string& best, Json metrics) {
  const auto began = SteadyClock::now();
  while (round_.busy()) exchange();
  name_ = checkpoint_name(frame_.generation, step);
  CheckpointRound::Publish publish;
  if (record_ != nullptr) {
    KeepRule keep{
        config_.unsigned_at("checkpoint", "keep"), config_.unsigned_at("checkpoint", "keep_every_steps"), {}};
    if (!best.empty()) keep.names.push_back(best);
    publish = [record = record_, keep, metrics = std::move(metrics),
               head = CheckpointHead{step, std::move(state)}](const std::filesystem::path& draft,
                                                              const FileStamps& stamps) {
      return record->publish(draft, head, stamps, keep, metrics);
    };
  }
  round_.begin(name_, step, snapshot(), std::move(publish));
  last_begun_ = SteadyClock::now();
  stall_seconds_ = seconds_since(began);
}

/// One exchange outside of steps, not before this rank's job is done or it has waited a moment.
void TrainingCheckpoints::exchange() {
  if (round_.busy()) {
    round_.wait(kPatience);
  } else {
    std::this_thread::sleep_for(kPatience);
  }
  take(gather_texts(comm_, "checkpoint", news()));
}

void TrainingCheckpoints::take(const std::vector<std::string>& news) {
  const auto outcome = round_.take(news);
  if (!outcome) return;
  if (outcome->error) {
    failed(*outcome);
  } else {
    committed(*outcome);
  }
}

void TrainingCheckpoints::settle(std::optional<double> patience) {
  if (patience) round_.hurry(*patience);
  while (round_.busy() || round_.failing()) exchange();
}

void TrainingCheckpoints::finish_under_way() {
  try {
    while (round_.busy()) exchange();
  } catch (const AgreedError& error) {
    if (comm_.rank() == 0) log_(LogLevel::kWarning, error.what());
  }
}

void TrainingCheckpoints::committed(const CheckpointOutcome& outcome) {
  last_ = outcome.name;
  last_write_seconds_ = outcome.write_seconds;
  cost_.stall(stall_seconds_);
  if (record_ == nullptr) return;
  record_->event("checkpoint_committed", outcome.step,
                 {{"checkpoint", outcome.name},
                  {"commit_seconds", outcome.write_seconds},
                  {"stall_seconds", stall_seconds_},
                  {"state_bytes", snapshot_.bytes()}});
}

void TrainingCheckpoints::failed(const CheckpointOutcome& outcome) {
  const Error& error = *outcome.error;
  if (record_ != nullptr && error.code() == ErrorCode::kStorage) {
    record_->event("checkpoint_failed", outcome.step,
                   {{"checkpoint", outcome.name},
                    {"failed_rank", outcome.rank},
                    {"message", error.message()},
                    {"where", error.where()},
                    {"retry_seconds", outcome.final ? Json(nullptr) : Json(outcome.retry_seconds)}});
  }
  if (outcome.final) {
    const bool told = error.code() == ErrorCode::kNothingToDo;  // a line of its own
    const std::string good = last_.empty() ? "" : fmt::format("; the last good one is {}", last_);
    throw AgreedError(Error(error.code(),
                            told ? error.message()
                                 : fmt::format("step {}: checkpoint {} cannot be written: {}{}", outcome.step,
                                               outcome.name, error.message(), good),
                            error.where()),
                      outcome.rank == comm_.rank());
  }
  if (comm_.rank() == 0) {
    log_(LogLevel::kWarning,
         fmt::format("checkpoint {} failed on rank {}: {}; the run goes on, the next try is in {}",
                     outcome.name, outcome.rank, error.what(), human_seconds(outcome.retry_seconds)));
  }
}

void TrainingCheckpoints::note_step(double seconds) { cost_.step(seconds, round_.busy()); }

bool TrainingCheckpoints::due_by_step(std::uint64_t step) const {
  const std::uint64_t every = config_.unsigned_at("checkpoint", "every_steps");
  return every > 0 && step % every == 0;
}

bool TrainingCheckpoints::begun(std::uint64_t step) const {
  return name_ == checkpoint_name(frame_.generation, step);
}

bool TrainingCheckpoints::due_by_clock() const {
  double every = config_.number_at("checkpoint", "every_seconds");
  const double mtbf = 3600 * config_.number_at("checkpoint", "mean_hours_between_failures");
  if (mtbf > 0) {
    const double cost = std::max(1e-3, cost_.seconds(last_write_seconds_));
    every = std::max(kLeastInterval, best_checkpoint_interval(cost, mtbf));
  }
  return every > 0 && seconds_since(last_begun_) >= every;
}

std::string TrainingCheckpoints::failing() const { return round_.failing() ? name_ : ""; }

}  // namespace muster
