#include "trainer/comm/local_communicator.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "core/error.h"
#include "core/text.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;
using Bytes = std::vector<std::byte>;

/// One collective: what each rank gave. Read-only once all ranks have arrived.
struct Meeting {
  std::string name;
  std::string call;  ///< what was called, with sizes that must agree
  std::uint64_t sequence = 0;
  std::vector<std::optional<std::vector<Bytes>>> given;  ///< [rank]
  std::size_t arrived = 0;
  Clock::time_point complete_at;  ///< when the last rank arrived
};

/// Where the ranks meet. A failure stays: every later call on any rank throws it.
class Hub {
 public:
  Hub(int world, const LocalOptions& options) : world_(static_cast<std::size_t>(world)), options_(options) {}

  std::shared_ptr<Meeting> arrive(std::size_t rank, std::uint64_t sequence, std::string_view name,
                                  std::string call, std::vector<Bytes> given) {
    const std::lock_guard lock(mutex_);
    throw_if_failed();
    std::shared_ptr<Meeting>& entry = open_[sequence];
    if (!entry) {
      entry = std::make_shared<Meeting>();
      entry->name = name;
      entry->call = call;
      entry->sequence = sequence;
      entry->given.resize(world_);
    }
    const std::shared_ptr<Meeting> meeting = entry;
    if (meeting->name != name || meeting->call != call) {
      set_failure(
          Error(ErrorCode::kBug,
                fmt::format("collective #{}: rank {} calls {} '{}' where rank {} calls {} '{}'", sequence,
                            rank, call, name, first_rank(*meeting), meeting->call, meeting->name)));
      throw_if_failed();
    }
    meeting->given[rank] = std::move(given);
    if (++meeting->arrived == world_) {
      meeting->complete_at = Clock::now();
      open_.erase(sequence);
      changed_.notify_all();
    }
    return meeting;
  }

  void await(const Meeting& meeting) {
    std::unique_lock lock(mutex_);
    const auto settled = [&] { return meeting.arrived == world_ || failure_; };
    if (!changed_.wait_for(lock, options_.deadline, settled)) {
      set_failure(
          Error(ErrorCode::kPeer,
                fmt::format("collective '{}' (#{}) has waited {} for {}", meeting.name, meeting.sequence,
                            human_seconds(std::chrono::duration<double>(options_.deadline).count()),
                            missing(meeting))));
    }
    if (meeting.arrived < world_) throw_if_failed();
  }

  /// Makes all present and later calls throw, unless an earlier failure does already.
  void abandon(const Error& error) {
    const std::lock_guard lock(mutex_);
    set_failure(error);
  }

  std::size_t world() const { return world_; }
  const LocalOptions& options() const { return options_; }

 private:
  void set_failure(const Error& error) {
    if (!failure_) failure_ = error;
    changed_.notify_all();
  }
  void throw_if_failed() const {
    if (failure_) throw Error(*failure_);
  }
  static std::size_t first_rank(const Meeting& meeting) {
    const auto found =
        std::find_if(meeting.given.begin(), meeting.given.end(), [](const auto& g) { return g; });
    return static_cast<std::size_t>(found - meeting.given.begin());
  }
  static std::string missing(const Meeting& meeting) {
    std::vector<std::string> ranks;
    for (std::size_t rank = 0; rank < meeting.given.size(); ++rank) {
      if (!meeting.given[rank]) ranks.push_back(std::to_string(rank));
    }
    return (ranks.size() == 1 ? "rank " : "ranks ") + join(ranks, ", ");
  }

  const std::size_t world_;
  const LocalOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, std::shared_ptr<Meeting>> open_;  ///< not all ranks have arrived
  std::optional<Error> failure_;
};

Bytes copy_of(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

template <typename T>
void sum_in_rank_order(const Meeting& meeting, std::span<T> values) {
  if (meeting.given.size() == 1) return;  // what one rank has is the sum
  std::vector<T> term(values.size());
  for (std::size_t rank = 0; rank < meeting.given.size() && !values.empty(); ++rank) {
    std::memcpy(term.data(), meeting.given[rank]->front().data(), values.size_bytes());
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = rank == 0 ? term[i] : values[i] + term[i];
  }
}

class LocalPendingReduce : public PendingReduce {
 public:
  LocalPendingReduce(std::shared_ptr<Hub> hub, std::shared_ptr<Meeting> meeting, std::span<float> values,
                     double& wait_seconds)
      : hub_(std::move(hub)), meeting_(std::move(meeting)), values_(values), wait_seconds_(&wait_seconds) {}

  ~LocalPendingReduce() override {
    // While an exception ends this rank the others are not coming: its share is copied, nobody needs to wait.
    if (std::uncaught_exceptions() > 0) return;
    try {
      LocalPendingReduce::wait();
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch)
      // The hub keeps the failure: the rank's next collective throws it.
    }
  }

  void wait() override {
    if (!meeting_) return;
    const auto start = Clock::now();
    const std::shared_ptr<Meeting> meeting = std::exchange(meeting_, nullptr);
    hub_->await(*meeting);
    std::this_thread::sleep_until(meeting->complete_at + hub_->options().all_reduce_delay);
    sum_in_rank_order(*meeting, values_);
    *wait_seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
  }

 private:
  std::shared_ptr<Hub> hub_;
  std::shared_ptr<Meeting> meeting_;  ///< null once waited for
  std::span<float> values_;
  double* wait_seconds_;
};

class LocalCommunicator : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<Hub> hub, int rank) : hub_(std::move(hub)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(hub_->world()); }

  void barrier(std::string_view name) override { meet(name, "barrier", {}); }

  void broadcast(std::string_view name, std::span<std::byte> bytes, int root) override {
    ensure(root >= 0 && root < size(), "broadcast '{}' from rank {} of {}", name, root, size());
    std::vector<Bytes> given;
    if (rank_ == root) given.push_back(copy_of(bytes));
    const auto meeting =
        meet(name, fmt::format("broadcast of {} bytes from rank {}", bytes.size(), root), std::move(given));
    if (!bytes.empty()) std::memcpy(bytes.data(), meeting->given[root]->front().data(), bytes.size());
  }

  void all_reduce_sum(std::string_view name, std::span<float> values) override {
    reduce(name, values, "floats");
  }
  void all_reduce_sum(std::string_view name, std::span<double> values) override {
    reduce(name, values, "doubles");
  }
  void all_reduce_sum(std::string_view name, std::span<std::uint64_t> values) override {
    reduce(name, values, "integers");
  }

  std::unique_ptr<PendingReduce> start_all_reduce_sum(std::string_view name,
                                                      std::span<float> values) override {
    auto meeting = arrive(name, fmt::format("start of a sum of {} floats", values.size()),
                          {summand(std::as_bytes(values))});
    return std::make_unique<LocalPendingReduce>(hub_, std::move(meeting), values, wait_seconds_);
  }

  std::vector<Bytes> all_gather(std::string_view name, std::span<const std::byte> bytes) override {
    const auto meeting = meet(name, "all-gather", {copy_of(bytes)});
    std::vector<Bytes> result;
    for (const auto& given : meeting->given) result.push_back(given->front());
    return result;
  }

  std::vector<Bytes> all_to_all(std::string_view name, std::span<const Bytes> to) override {
    ensure(to.size() == hub_->world(), "all-to-all '{}' has {} parts for {} ranks", name, to.size(), size());
    const auto meeting = meet(name, "all-to-all", {to.begin(), to.end()});
    std::vector<Bytes> result;
    for (const auto& given : meeting->given) result.push_back((*given)[static_cast<std::size_t>(rank_)]);
    return result;
  }

  double wait_seconds() const override { return wait_seconds_; }

 private:
  std::shared_ptr<Meeting> arrive(std::string_view name, std::string call, std::vector<Bytes> given) {
    return hub_->arrive(static_cast<std::size_t>(rank_), sequence_++, name, std::move(call),
                        std::move(given));
  }

  std::shared_ptr<Meeting> meet(std::string_view name, std::string call, std::vector<Bytes> given) {
    const auto start = Clock::now();
    auto meeting = arrive(name, std::move(call), std::move(given));
    hub_->await(*meeting);
    wait_seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
    return meeting;
  }

  /// What the other ranks need of this one's share.
  Bytes summand(std::span<const std::byte> bytes) const { return size() == 1 ? Bytes() : copy_of(bytes); }

  template <typename T>
  void reduce(std::string_view name, std::span<T> values, const char* type) {
    sum_in_rank_order(
        *meet(name, fmt::format("sum of {} {}", values.size(), type), {summand(std::as_bytes(values))}),
        values);
  }

  std::shared_ptr<Hub> hub_;
  int rank_;
  std::uint64_t sequence_ = 0;
  double wait_seconds_ = 0;
};

std::vector<std::unique_ptr<Communicator>> communicators_of(const std::shared_ptr<Hub>& hub) {
  std::vector<std::unique_ptr<Communicator>> result;
  for (std::size_t rank = 0; rank < hub->world(); ++rank) {
    result.push_back(std::make_unique<LocalCommunicator>(hub, static_cast<int>(rank)));
  }
  return result;
}

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_local_communicators(int world, const LocalOptions& options) {
  ensure(world > 0, "a group of {} ranks", world);
  return communicators_of(std::make_shared<Hub>(world, options));
}

void run_local(int world, const std::function<void(Communicator&)>& body, const LocalOptions& options) {
  ensure(world > 0, "a group of {} ranks", world);
  const auto hub = std::make_shared<Hub>(world, options);
  const auto communicators = communicators_of(hub);
  std::mutex mutex;
  std::exception_ptr first;
  const auto run = [&](Communicator& comm) {
    try {
      body(comm);
    } catch (const std::exception& error) {
      {
        const std::lock_guard lock(mutex);
        if (!first) first = std::current_exception();
      }
      hub->abandon(Error(ErrorCode::kPeer, fmt::format("rank {} failed: {}", comm.rank(), error.what())));
    }
  };
  std::vector<std::thread> threads;
  for (const auto& comm : communicators) threads.emplace_back(run, std::ref(*comm));
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace muster
