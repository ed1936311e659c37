#include "trainer/mpi_roll_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "core/text.h"

namespace muster {
namespace {

constexpr int kQuestion = 1;
constexpr int kAnswer = 2;
constexpr auto kInterval = std::chrono::milliseconds(5);

}  // namespace

MpiRollCall::MpiRollCall(MPI_Comm comm, std::mutex& mutex, std::function<std::uint64_t()> next_sequence)
    : comm_(comm), mutex_(&mutex), next_sequence_(std::move(next_sequence)) {
  MPI_Comm_rank(comm_, &rank_);
  MPI_Comm_size(comm_, &size_);
}

void MpiRollCall::answer() {
  if (const std::unique_lock lock(*mutex_, std::try_to_lock); lock) answer_locked();
}

std::string MpiRollCall::ask(std::uint64_t sequence, std::chrono::milliseconds patience) {
  std::vector<State> states(static_cast<std::size_t>(size_), State::kSilent);
  states[static_cast<std::size_t>(rank_)] = State::kPresent;
  const auto until = std::chrono::steady_clock::now() + patience;
  bool asked = false;
  const auto silent = [&] { return std::count(states.begin(), states.end(), State::kSilent) > 0; };
  while (silent() && std::chrono::steady_clock::now() < until) {
    if (const std::unique_lock lock(*mutex_, std::try_to_lock); lock) {
      for (int rank = 0; rank < size_ && !asked; ++rank) {
        if (rank != rank_) send(rank, kQuestion, sequence);
      }
      asked = true;
      answer_locked();
      collect(sequence, states);
    }
    std::this_thread::sleep_for(kInterval);
  }
  const auto ranks_in = [&](State state, const char* what) {
    std::vector<std::string> ranks;
    for (std::size_t rank = 0; rank < states.size(); ++rank) {
      if (states[rank] == state) ranks.push_back(std::to_string(rank));
    }
    if (ranks.empty()) return std::string();
    return fmt::format("{} {}, {}", ranks.size() == 1 ? "rank" : "ranks", join(ranks, ", "), what);
  };
  const std::string missing = ranks_in(State::kMissing, "not in it yet");
  const std::string lost = ranks_in(State::kSilent, "without an answer");
  if (missing.empty() && lost.empty()) return "the network: all ranks are in it";
  return missing + (missing.empty() || lost.empty() ? "" : "; ") + lost;
}

void MpiRollCall::answer_locked() {
  int there = 0;
  MPI_Status status;
  while (MPI_Iprobe(MPI_ANY_SOURCE, kQuestion, comm_, &there, &status) == MPI_SUCCESS && there != 0) {
    std::uint64_t question = 0;
    if (MPI_Recv(&question, 1, MPI_UINT64_T, status.MPI_SOURCE, kQuestion, comm_, &status) != MPI_SUCCESS)
      return;
    send(status.MPI_SOURCE, kAnswer, next_sequence_());
  }
}

void MpiRollCall::send(int rank, int tag, std::uint64_t value) {
  MPI_Request request = MPI_REQUEST_NULL;
  sent_.push_back(value);
  if (MPI_Isend(&sent_.back(), 1, MPI_UINT64_T, rank, tag, comm_, &request) == MPI_SUCCESS)
    MPI_Request_free(&request);
}  // NOLINT(clang-analyzer-optin.mpi.MPI-Checker): never waited for, the rank it goes to may be lost

void MpiRollCall::collect(std::uint64_t sequence, std::vector<State>& states) {
  int there = 0;
  MPI_Status status;
  while (MPI_Iprobe(MPI_ANY_SOURCE, kAnswer, comm_, &there, &status) == MPI_SUCCESS && there != 0) {
    std::uint64_t next = 0;
    if (MPI_Recv(&next, 1, MPI_UINT64_T, status.MPI_SOURCE, kAnswer, comm_, &status) != MPI_SUCCESS) return;
    states[static_cast<std::size_t>(status.MPI_SOURCE)] = next > sequence ? State::kPresent : State::kMissing;
  }
}

}  // namespace muster
