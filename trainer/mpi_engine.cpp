#include "trainer/mpi_engine.h"

#include <unistd.h>

#include "core/error.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPeerLost = static_cast<int>(ErrorCode::kPeer);
constexpr auto kProgressInterval = std::chrono::microseconds(100);
constexpr auto kRollCallPatience = std::chrono::milliseconds(2500);  // the others look every second
constexpr auto kAbortPatience = std::chrono::seconds(2);

}  // namespace

MpiEngine::MpiEngine(const MpiOptions& options, MPI_Comm parent)
    : max_count_(options.max_count), on_failure_(options.on_failure) {
  for (MPI_Comm* const comm : {&comm_, &roll_call_comm_}) {
    check(MPI_Comm_dup(parent, comm), "MPI_Comm_dup");
    check(MPI_Comm_set_errhandler(*comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  }
  check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  roll_call_ = std::make_unique<MpiRollCall>(roll_call_comm_, mutex_, [this] { return sequence_; });
  watch_ = std::make_unique<DeadlineWatch>(
      rank_, options.deadline,
      [this] {
        if (!failed_) roll_call_->answer();
      },
      [this](const Overdue& overdue) { end_all_ranks(overdue); });
  progress_ = std::thread([this] { keep_moving(); });
}

MpiEngine::~MpiEngine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  progress_.join();
  watch_.reset();
  if (failed_) return;
  MPI_Comm_free(&roll_call_comm_);
  MPI_Comm_free(&comm_);
}

std::shared_ptr<MpiOperation> MpiEngine::begin(std::string_view name) {
  auto operation = std::make_shared<MpiOperation>();
  operation->name = name;
  operation->sequence = sequence_++;
  throw_if_failed(*operation);
  watch_->begin(operation->sequence, operation->name);
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
  const auto tested = [&] {
    const std::lock_guard lock(mutex_);
    return test(operation);
  };
  for (int round = 0; !tested(); ++round) {
    if (round < 100) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(round < 200 ? 20 : 100));
    }
  }
  wait_seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
}

bool MpiEngine::test(MpiOperation& operation) {
  if (operation.done) return true;
  throw_if_failed(operation);
  int all = 0;
  check(MPI_Testall(static_cast<int>(operation.requests.size()), operation.requests.data(), &all,
                    MPI_STATUSES_IGNORE),
        operation);
  if (all == 0) return false;
  operation.done = true;
  watch_->end(operation.sequence);
  return true;
}

void MpiEngine::keep_moving() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (outstanding_.empty() || failed_) {
      wake_.wait(lock);
      continue;
    }
    try {
      std::erase_if(outstanding_, [this](const auto& operation) { return test(*operation); });
    } catch (const Error&) {
      continue;  // kept in failure_: the caller's own test throws it
    }
    lock.unlock();
    std::this_thread::sleep_for(kProgressInterval);
    lock.lock();
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
  failed_ = true;
  failure_ = fmt::format("rank {}: {} failed: {}", rank_, what, text);
  throw Error(ErrorCode::kPeer, failure_);
}

/// Anything may hang where the network or a peer does, so a second thread waits for none of it.
void MpiEngine::end_all_ranks(const Overdue& overdue) {
  const auto reported = std::make_shared<std::atomic_flag>();
  const auto report = [reported, on_failure = on_failure_](const std::string& line) {
    if (!reported->test_and_set() && on_failure) on_failure(line);
  };
  std::thread([report, line = overdue.line] {
    std::this_thread::sleep_for(kRollCallPatience + kAbortPatience);
    report(line + "the other ranks");
    ::_exit(kPeerLost);
  }).detach();
  report(overdue.line + roll_call_->ask(overdue.sequence, kRollCallPatience));
  MPI_Abort(comm_, kPeerLost);
  ::_exit(kPeerLost);
}

}  // namespace muster
