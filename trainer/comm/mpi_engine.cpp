#include "trainer/comm/mpi_engine.h"

#include <unistd.h>

#include "core/error.h"
#include "core/text.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPeerLost = static_cast<int>(ErrorCode::kPeer);
constexpr auto kProgressInterval = std::chrono::microseconds(100);
constexpr auto kAbortPatience = std::chrono::seconds(2);
/// How long telling and recording a failure may take, on a disk or a console that hangs, too.
constexpr auto kTellPatience = std::chrono::seconds(5);

}  // namespace

MpiEngine::MpiEngine(const MpiOptions& options, MPI_Comm parent) : max_count_(options.max_count) {
  check(MPI_Comm_dup(parent, &comm_), "MPI_Comm_dup");
  check(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  watch_over(options);
  progress_ = std::thread([this] { keep_moving(); });
}

/// Collective: the ranks learn where rank 0 listens.
void MpiEngine::watch_over(const MpiOptions& options) {
  RankWatchOptions watch;
  watch.rank = rank_;
  watch.size = size_;
  watch.deadline = options.deadline;
  watch.deadline_key = options.deadline_key;
  watch.status = options.status;
  watch.on_failure = [on_failure = options.on_failure](const std::string& line, bool mine) {
    // Anything may hang where the network or a peer does, so another thread waits for none of it.
    std::thread([] {
      std::this_thread::sleep_for(kTellPatience);
      ::_exit(kPeerLost);
    }).detach();
    if (on_failure) on_failure(line, mine);
  };
  watch.end = [this] { end_all_ranks(); };
  watch_ = std::make_unique<RankWatch>(std::move(watch));
  std::string contact = rank_ == 0 ? watch_->contact() : std::string();
  std::uint64_t length = contact.size();
  check(MPI_Bcast(&length, 1, MPI_UINT64_T, 0, comm_), "MPI_Bcast");
  contact.resize(length);
  check(MPI_Bcast(contact.data(), static_cast<int>(length), MPI_CHAR, 0, comm_), "MPI_Bcast");
  if (!watch_->start(contact) && options.on_warning) {
    options.on_warning(fmt::format(
        "rank {} cannot reach rank 0 by TCP: when a collective hangs it can only say that", rank_));
  }
}

MpiEngine::~MpiEngine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  progress_.join();
  watch_.reset();
  if (!failed_) MPI_Comm_free(&comm_);
}

std::shared_ptr<MpiOperation> MpiEngine::begin(std::string_view name) {
  auto operation = std::make_shared<MpiOperation>();
  operation->name = name;
  operation->sequence = sequence_++;
  throw_if_failed(*operation);
  watch_->begin(operation->sequence, operation->name);
  return operation;
}

std::shared_ptr<MpiOperation> MpiEngine::start_moved(
    std::string_view name, std::function<SharedSum::Progress(MpiOperation&)> advance) {
  const std::lock_guard lock(mutex_);
  auto operation = begin(name);
  operation->advance = std::move(advance);
  return operation;
}

void MpiEngine::hand_over(const std::shared_ptr<MpiOperation>& operation) {
  {
    const std::lock_guard lock(mutex_);
    outstanding_.push_back(operation);
  }
  wake_.notify_one();
}

/// Yields a while for short waits, then sleeps between tests: a spinning rank would take the core of a loader
/// thread, or of the very rank that it waits for.
void MpiEngine::wait(MpiOperation& operation) {
  const auto start = Clock::now();
  int idle = 0;
  while (true) {
    const SharedSum::Progress progress = move(operation);
    if (progress == SharedSum::Progress::kDone) break;
    if (progress == SharedSum::Progress::kWorked) {
      idle = 0;
    } else if (++idle <= 100) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(idle <= 200 ? 20 : 100));
    }
  }
  wait_seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
}

SharedSum::Progress MpiEngine::move(MpiOperation& operation) {
  using Progress = SharedSum::Progress;
  if (operation.done) return Progress::kDone;
  throw_if_failed(operation);
  const Progress progress = operation.advance          ? advance(operation)
                            : test_requests(operation) ? Progress::kDone
                                                       : Progress::kWaiting;
  if (progress == Progress::kDone && !operation.done.exchange(true)) ended(operation);
  return progress;
}

void MpiEngine::ended(const MpiOperation& operation) {
  watch_->end(operation.sequence);
  const auto now = Clock::now();
  std::shared_ptr<const Communicator::Observer> observer;
  {
    const std::lock_guard lock(mutex_);
    observer = observer_;
  }
  if (observer != nullptr) (*observer)(operation.name, operation.began, now);
}

void MpiEngine::observe(Communicator::Observer observer) {
  const std::lock_guard lock(mutex_);
  observer_ = observer ? std::make_shared<const Communicator::Observer>(std::move(observer)) : nullptr;
}

/// What moves it can fail as MPI can: then nothing else is tried either.
SharedSum::Progress MpiEngine::advance(MpiOperation& operation) {
  try {
    return operation.advance(operation);
  } catch (const std::exception& error) {  // CUDA's are no Errors
    const std::lock_guard lock(mutex_);
    note_failure(fmt::format("rank {}: collective '{}' (#{}) failed: {}", rank_, operation.name,
                             operation.sequence, first_line(error.what())));
    throw Error(ErrorCode::kPeer, failure_);
  }
}

bool MpiEngine::test_requests(MpiOperation& operation) {
  const std::lock_guard lock(mutex_);
  throw_if_failed(operation);
  int all = 0;
  check(MPI_Testall(static_cast<int>(operation.requests.size()), operation.requests.data(), &all,
                    MPI_STATUSES_IGNORE),
        operation);
  return all != 0;
}

/// The mutex is held for one test at a time: the caller's own collectives wait for no sum.
void MpiEngine::keep_moving() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (outstanding_.empty() || failed_) {
      wake_.wait(lock);
      continue;
    }
    const std::vector<std::shared_ptr<MpiOperation>> moving = outstanding_;
    lock.unlock();
    bool worked = false;
    try {
      for (const auto& operation : moving)
        worked = move(*operation) == SharedSum::Progress::kWorked || worked;
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch)
      // Kept in failure_: the caller's own test throws it.
    }
    if (!worked) std::this_thread::sleep_for(kProgressInterval);
    lock.lock();
    std::erase_if(outstanding_, [](const auto& operation) { return operation->done.load(); });
  }
}

void MpiEngine::throw_if_failed(const MpiOperation& operation) const {
  if (!failed_) return;
  fail(ErrorCode::kPeer, "collective '{}' (#{}) cannot run: {}", operation.name, operation.sequence,
       failure_);
}

void MpiEngine::check(int code, const MpiOperation& operation) {
  if (code != MPI_SUCCESS)
    check(code, fmt::format("collective '{}' (#{})", operation.name, operation.sequence));
}

void MpiEngine::check(int code, const std::string& what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  note_failure(fmt::format("rank {}: {} failed: {}", rank_, what, text));
  throw Error(ErrorCode::kPeer, failure_);
}

/// The first one is the one that is told.
void MpiEngine::note_failure(std::string what) {
  if (failed_) return;
  failure_ = std::move(what);
  failed_ = true;
}

void MpiEngine::end_all_ranks() {
  std::thread([] {
    std::this_thread::sleep_for(kAbortPatience);
    ::_exit(kPeerLost);
  }).detach();
  MPI_Abort(comm_, kPeerLost);
  ::_exit(kPeerLost);
}

}  // namespace muster
